/** What the generator's tests say again and again: documents, drafts, servers, and the wait for a build. */
import { afterAll, afterEach, setDefaultTimeout } from 'bun:test'
import { watch as follow } from '@bmm/lib/client'
import { type TestUser, testUser } from '@bmm/lib/testing'
import {
  BuildService,
  DraftService,
  ServerService,
  ServingService,
} from '@bmm/proto/generator/v1/generator_service'
import {
  type Build,
  type BuildEvent,
  BuildState,
  type Draft,
  type Server,
} from '@bmm/proto/generator/v1/server'
import { confirmationDigest } from '@bmm/spec/confirmation'
import { type ServerSpec, serverSpecBytes } from '@bmm/spec/server-spec'
import { accessSchema } from '@bmm/spec/statement'
import {
  openTestGenerator,
  quietNeighbours,
  type TestGenerator,
  type TestGeneratorOptions,
  testPublicUrl,
} from './testing.ts'

/** For a loaded machine: a build starts processes. */
const TEST_TIMEOUT_MS = 120_000

export function jsonOf(bytes?: Uint8Array) {
  return JSON.parse(Buffer.from(bytes ?? []).toString())
}

export function newSlug(): string {
  return `s-${crypto.randomUUID().slice(0, 12)}`
}

export function openApi(paths: Record<string, unknown>, extra = {}): Uint8Array {
  return new TextEncoder().encode(
    JSON.stringify({
      openapi: '3.1.0',
      info: { title: 'Pets', version: '1' },
      servers: [{ url: 'https://pets.example.com/v1' }],
      paths,
      ...extra,
    }),
  )
}

export const getPet = {
  get: {
    operationId: 'getPet',
    tags: ['pets'],
    summary: 'Gets a pet',
    parameters: [{ name: 'id', in: 'path', required: true, schema: { type: 'string' } }],
    responses: {},
  },
}
export const petDocument = openApi({ '/pets/{id}': getPet })

/** A spec of one code tool `run`. */
export function codeSpec(implementation: string, part: Partial<ServerSpec> = {}): ServerSpec {
  return {
    specVersion: 1,
    name: 'Code',
    description: '',
    tools: [
      {
        name: 'run',
        description: 'Runs.',
        inputSchema: { type: 'object' },
        annotations: {
          readOnlyHint: true,
          destructiveHint: false,
          idempotentHint: true,
          openWorldHint: false,
        },
        implementation,
        examples: [],
      },
    ],
    credentials: [],
    egress: [],
    ...part,
  }
}

/** The generator that all tests of a file share, and calls to it; after each test its neighbours are as at first. */
export async function generatorOfFile(options: TestGeneratorOptions) {
  setDefaultTimeout(TEST_TIMEOUT_MS)
  const generator = await openTestGenerator(options)
  afterAll(() => generator[Symbol.asyncDispose]())
  afterEach(() => {
    Object.assign(generator.neighbours, quietNeighbours())
  })
  const calls = callsOf(generator)
  return { generator, calls, owner: calls.owner }
}

/** Calls as the gateway and the runner make them, for `owner` unless told otherwise. */
function callsOf(generator: TestGenerator) {
  const owner = testUser()
  const { rpc } = generator
  const drafts = rpc.client(DraftService, 'generator', 'gateway')
  const servers = rpc.client(ServerService, 'generator', 'gateway')
  const builds = rpc.client(BuildService, 'generator', 'gateway')
  const serving = rpc.client(ServingService, 'generator', 'runner')

  async function draftFrom(
    source: { case: 'document' | 'spec'; value: Uint8Array },
    user: TestUser,
  ): Promise<Draft> {
    const { draft } = await drafts.createDraft({ source }, await generator.as(user))
    return there(draft)
  }

  async function create(
    draft: Draft,
    user = owner,
    wish: { slug?: string; access?: string; idempotencyKey?: string } = {},
  ): Promise<{ server: Server; build: Build }> {
    const { id: draftId, specDigest } = draft
    const { slug = newSlug(), access = '' } = wish
    const resourceUrl = `${testPublicUrl}/s/${slug}/mcp`
    const confirmed = confirmedDigest({ specDigest, resourceUrl, access })
    const answer = await servers.createServer(
      { draftId, specDigest, slug, ...wish },
      await generator.as(user, confirmed),
    )
    return { server: there(answer.server), build: there(answer.build) }
  }

  /** Every event after one, to the end of the build. */
  async function events(buildId: string, afterSeq = 0n, user = owner): Promise<BuildEvent[]> {
    const seen: BuildEvent[] = []
    const call = await generator.as(user)
    for await (const { event } of follow(builds.watchBuild, { buildId, afterSeq }, call)) {
      seen.push(there(event))
    }
    return seen
  }

  const buildOf = async (buildId: string, user = owner) =>
    there((await builds.getBuild({ buildId }, await generator.as(user))).build)
  const serverOf = async (server: string, user = owner) =>
    there((await servers.getServer({ server }, await generator.as(user))).server)

  /** Waits for the end and returns the build. */
  async function ended(buildId: string, user = owner): Promise<Build> {
    await events(buildId, 0n, user)
    return buildOf(buildId, user)
  }

  const draftOf = (document = petDocument, user = owner) =>
    draftFrom({ case: 'document', value: document }, user)

  /** A server whose build nobody works on yet. */
  async function queued(): Promise<{ serverId: string; buildId: string }> {
    const { server, build } = await create(await draftOf())
    return { serverId: server.id, buildId: build.id }
  }

  /** A server that was built; throws when its build did not succeed. */
  async function liveServer(draft?: Draft, user = owner): Promise<Server> {
    const { server, build } = await create(draft ?? (await draftOf(petDocument, user)), user)
    const end = await ended(build.id, user)
    if (end.state !== BuildState.SUCCEEDED) throw new Error(`${end.reason}: ${end.message}`)
    return serverOf(server.id, user)
  }

  return {
    owner,
    drafts,
    servers,
    builds,
    serving,
    draftOf,
    specDraft: (spec: ServerSpec, user = owner) =>
      draftFrom({ case: 'spec', value: serverSpecBytes(spec) }, user),
    create,
    events,
    buildOf,
    serverOf,
    ended,
    queued,
    liveServer,
  }
}

function there<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error('the answer lacks what the contract promises')
  return value
}

/** What a person's token says that they confirmed; the access rule as text, empty for the organisation. */
export function confirmedDigest(shown: {
  specDigest: string
  resourceUrl: string
  access: string
}): string {
  const { specDigest, resourceUrl, access } = shown
  // A rule that is none is refused for itself, whatever was confirmed.
  const rule = accessSchema.safeParse(parseJson(access)).data ?? { kind: 'org' }
  return confirmationDigest({ specDigest, resourceUrl, access: rule })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
