/** REST: servers, from confirming a draft to deleting. */
import { errorFrom } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import type { DraftService, ServerService } from '@bmm/proto/generator/v1/generator_service'
import type { SecretsService, StatementService } from '@bmm/proto/secrets/v1/secrets_service'
import { Permission } from '@bmm/proto/v1/options'
import { confirmationDigest } from '@bmm/spec/confirmation'
import { digestPattern } from '@bmm/spec/digest'
import { resourceUrl } from '@bmm/spec/resource-url'
import { creationAnswer, deletionAnswer, serverAnswer, serversAnswer } from '@bmm/spec/rest-answer'
import { type CredentialSpec, credentialNamePattern } from '@bmm/spec/server-spec'
import { accessSchema } from '@bmm/spec/statement'
import type { CallOptions, Client } from '@connectrpc/connect'
import { Elysia } from 'elysia'
import { z } from 'zod'
import { problem } from '../problem.ts'
import type { Servings } from '../serving/serving.ts'
import { buildJson, present, serverJson } from './answer.ts'
import { credentialsIn, putCredential, valueSchema } from './credentials.ts'
import { jsonBody } from './json-body.ts'
import type { People } from './person.ts'
import { serverIdOf } from './server-reference.ts'

const DELETE_TIMEOUT_MS = 60_000

export type ServerRoutesOptions = {
  publicUrl: string
  drafts: Client<typeof DraftService>
  servers: Client<typeof ServerService>
  secrets: Client<typeof SecretsService>
  statements: Client<typeof StatementService>
  people: People
  /** Asked for changes before an answer, so that the endpoint acts at once on what was just done here. */
  servings: Pick<Servings, 'hint'>
  log: Log
}

const createBody = z.strictObject({
  draftId: z.string(),
  digest: z.string().regex(digestPattern).describe('The digest of the spec that you looked at.'),
  slug: z.string().min(1).max(60),
  access: accessSchema.optional().describe('Who may call; your organisation when absent.'),
  credentials: z
    .array(
      z.strictObject({
        name: z.string().regex(credentialNamePattern),
        value: valueSchema,
      }),
    )
    .max(20)
    .optional()
    .describe('Values go to the destinations of the spec; they are stored before the answer.'),
})

const idempotencyKeySchema = z.string().min(1).max(200).optional()

export function serverRoutes(options: ServerRoutesOptions) {
  const { servers, statements, people, servings } = options
  return new Elysia({ name: 'server-routes', prefix: '/v1', normalize: false })
    .post(
      '/servers',
      async ({ request, body, set }) => {
        const created = await createServer(request, body, options)
        set.status = 201
        return { server: serverJson(created.server), build: buildJson(created.build) }
      },
      {
        parse: [jsonBody()],
        body: createBody,
        response: { 201: creationAnswer },
        detail: {
          summary: 'Confirm a draft: create the server and queue its build',
          description: 'Idempotency-Key (header): a repetition within a day gets the first answer.',
          tags: ['servers'],
        },
      },
    )
    .get(
      '/servers',
      async ({ request, query }) => {
        const page = await servers.listServers(
          { limit: query.limit ?? 0, cursor: query.cursor ?? '' },
          await people.as(request, ['generator'], { permissions: [Permission.SERVERS_READ] }),
        )
        return {
          servers: page.servers.map(serverJson),
          ...(page.nextCursor === '' ? {} : { nextCursor: page.nextCursor }),
        }
      },
      {
        query: z.object({
          limit: z.coerce.number().int().min(1).max(100).optional(),
          cursor: z.string().max(200).optional(),
        }),
        response: { 200: serversAnswer },
        detail: { summary: 'Servers of your organisation, newest first', tags: ['servers'] },
      },
    )
    .get(
      '/servers/:server',
      async ({ request, params }) => {
        const person = await people.as(request, ['generator'], {
          permissions: [Permission.SERVERS_READ],
        })
        return serverJson((await servers.getServer({ server: params.server }, person)).server)
      },
      {
        response: { 200: serverAnswer },
        detail: { summary: 'A server by id or slug', tags: ['servers'] },
      },
    )
    .delete(
      '/servers/:server',
      async ({ request, params }) => {
        const person = await people.as(request, ['generator', 'secrets'], {
          permissions: [Permission.SERVERS_WRITE],
        })
        const serverId = await serverIdOf(params.server, servers, person)
        const { finished } = await servers.deleteServer(
          { serverId },
          { ...person, timeoutMs: DELETE_TIMEOUT_MS },
        )
        await servings.hint()
        return { finished }
      },
      {
        response: { 200: deletionAnswer },
        detail: { summary: 'Delete a server and everything of it', tags: ['servers'] },
      },
    )
    .post(
      '/servers/:server/pause',
      async ({ request, params }) => {
        const person = await people.as(request, ['generator', 'secrets'], {
          permissions: [Permission.SERVERS_WRITE],
        })
        const serverId = await serverIdOf(params.server, servers, person)
        const { server } = await servers.pauseServer({ serverId }, person)
        await servings.hint()
        return serverJson(server)
      },
      {
        parse: 'none',
        response: { 200: serverAnswer },
        detail: { summary: 'Stop serving; tokens end', tags: ['servers'] },
      },
    )
    .post(
      '/servers/:server/resume',
      async ({ request, params, body }) => {
        const reader = await people.as(request, ['generator', 'secrets'], {
          permissions: [Permission.SERVERS_READ],
        })
        const paused = present((await servers.getServer({ server: params.server }, reader)).server)
        // Who may call is what was confirmed before, from the service that signs: no row of the generator's counts.
        const before = await statements.getConfirmed({ serverId: paused.id }, reader)
        const confirmed = confirmationDigest({
          specDigest: body.specDigest,
          resourceUrl: before.resourceUrl,
          access: accessSchema.parse(JSON.parse(before.access)),
        })
        const person = await people.as(request, ['generator', 'secrets'], {
          permissions: [Permission.SERVERS_WRITE],
          confirmDigest: confirmed,
        })
        const { server } = await servers.resumeServer({ serverId: paused.id }, person)
        await servings.hint()
        return serverJson(server)
      },
      {
        parse: [jsonBody()],
        body: z.strictObject({
          specDigest: z
            .string()
            .regex(digestPattern)
            .describe('The `specDigest` of the server that you looked at: resuming confirms it.'),
        }),
        response: { 200: serverAnswer },
        detail: { summary: 'Serve the same version again', tags: ['servers'] },
      },
    )
}

/** Creates the server, then stores the values at the destinations of the very spec that was confirmed. */
async function createServer(
  request: Request,
  body: z.infer<typeof createBody>,
  options: ServerRoutesOptions,
) {
  const { draftId, digest, slug, access, credentials = [] } = body
  const key = idempotencyKeySchema.safeParse(request.headers.get('idempotency-key') ?? undefined)
  if (!key.success) {
    throw problem(400, 'invalid_request', 'The Idempotency-Key has 1 to 200 characters.')
  }
  const rule = access ?? { kind: 'org' }
  const confirmed = confirmationDigest({
    specDigest: digest,
    resourceUrl: resourceUrl(options.publicUrl, slug),
    access: rule,
  })
  const person = await options.people.as(request, ['generator', 'secrets'], {
    permissions: [
      Permission.SERVERS_WRITE,
      ...(credentials.length === 0 ? [] : [Permission.CREDENTIALS_WRITE]),
    ],
    confirmDigest: confirmed,
  })
  const destinations =
    credentials.length === 0 ? new Map() : await draftDestinations(draftId, digest, person, options)
  for (const [index, { name }] of credentials.entries()) {
    if (destinations.has(name)) continue
    const known = [...destinations.keys()].join(', ')
    const detail =
      known === ''
        ? 'The spec asks for no credential.'
        : `The spec asks for no credential of that name, but for ${known}.`
    throw problem(400, 'credential_unknown', detail, {
      errors: [{ path: `credentials.${index}.name`, message: 'is not in the spec' }],
    })
  }
  const created = await options.servers.createServer(
    {
      draftId,
      specDigest: digest,
      slug,
      access: JSON.stringify(rule),
      idempotencyKey: key.data ?? '',
    },
    person,
  )
  const { id } = present(created.server)
  for (const { name, value } of credentials) {
    try {
      await putCredential(options.secrets, person, id, present(destinations.get(name)), value)
    } catch (thrown) {
      options.log.warn({ fault: errorFrom(thrown).message, serverId: id }, 'no value was stored')
      throw problem(
        503,
        'credential_not_stored',
        `The server was created, but the value of ${name} could not be stored. Set it now.`,
        { more: { serverId: id } },
      )
    }
  }
  return created
}

async function draftDestinations(
  draftId: string,
  digest: string,
  person: CallOptions,
  options: ServerRoutesOptions,
): Promise<Map<string, CredentialSpec>> {
  const draft = present((await options.drafts.getDraft({ draftId }, person)).draft)
  if (draft.specDigest !== digest) {
    throw problem(409, 'draft_changed', 'The draft is not the one that you looked at any more.')
  }
  return credentialsIn(draft.spec)
}
