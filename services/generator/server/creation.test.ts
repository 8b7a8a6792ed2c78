/** Creating servers through the generated client, on real Postgres, Redis and signer. */
import { describe, expect, test } from 'bun:test'
import { testUser } from '@bmm/lib/testing'
import { outcomeOf, reason } from '@bmm/lib/testing-outcome'
import { BuildState, BuildStep, ServerState } from '@bmm/proto/generator/v1/server'
import { digestOf } from '@bmm/spec/digest'
import { MAX_SPEC_BYTES } from '@bmm/spec/server-spec'
import { serveStatementSchema } from '@bmm/spec/statement'
import { testPublicUrl } from '../testing.ts'
import {
  codeSpec,
  confirmedDigest,
  generatorOfFile,
  jsonOf,
  newSlug,
  openApi,
  petDocument,
} from '../testing-calls.ts'

const { generator, calls, owner } = await generatorOfFile({ works: true })

const manyPaths = Object.fromEntries(
  Array.from({ length: 230 }, (_, i) => [
    `/things${i}`,
    { get: { tags: [i < 200 ? 'many' : 'few'], responses: {} } },
  ]),
)

describe('creating a server', () => {
  test('a confirmed draft is built, signed, deployed and served', async () => {
    const draft = await calls.draftOf()
    const { server, build } = await calls.create(draft)
    expect(server.state).toBe(ServerState.BUILDING)
    const seen = await calls.events(build.id)
    expect(seen.map((event) => Number(event.seq))).toEqual(seen.map((_, index) => index + 1))
    const finished = seen.filter(
      (event) => event.state === BuildState.SUCCEEDED && event.step !== BuildStep.UNSPECIFIED,
    )
    expect(finished.map((event) => event.step)).toEqual([
      BuildStep.RESOLVE,
      BuildStep.SCAN,
      BuildStep.COMPILE,
      BuildStep.TRY,
      BuildStep.SIGN,
      BuildStep.DEPLOY,
    ])
    expect(seen.at(-1)).toMatchObject({ step: BuildStep.UNSPECIFIED, state: BuildState.SUCCEEDED })
    const deployed = generator.neighbours.deployed.at(-1)
    const statement = serveStatementSchema.parse(jsonOf(deployed?.statement))
    expect(statement).toMatchObject({
      serverId: server.id,
      orgId: owner.orgId,
      version: 1,
      specDigest: draft.specDigest,
      moduleDigest: digestOf(''),
      access: { kind: 'org' },
      resourceUrl: `http://localhost:8787/s/${server.slug}/mcp`,
    })
    expect(deployed?.spec).toEqual(draft.spec)
    const live = await calls.servers.getServer({ server: server.slug }, await generator.as(owner))
    expect(live.server).toMatchObject({
      state: ServerState.LIVE,
      version: 1,
      tools: 1,
      specDigest: draft.specDigest,
      latestBuildId: build.id,
      createdBy: owner.userId,
    })
    const shown = await calls.servers.getServerSpec(
      { server: server.id },
      await generator.as(owner),
    )
    expect(shown.spec).toEqual(draft.spec)
  })
  test('code is compiled to one module that the runner tries and deploys', async () => {
    const server = await calls.liveServer(
      await calls.specDraft(codeSpec('const n: number = 1; return n')),
    )
    const { module } = generator.neighbours.deployed.at(-1) ?? {}
    expect(Buffer.from(module ?? '').toString()).toContain('["run"]: (async (input, ctx) => {')
    expect(generator.neighbours.tried.at(-1)?.module).toEqual(module ?? new Uint8Array())
    const moduleDigest = digestOf(module ?? '')
    const { id: serverId, specDigest } = server
    const artefact = await calls.serving.getArtefact({ serverId, specDigest, moduleDigest })
    expect(artefact.module).toEqual(module ?? new Uint8Array())
  })
  test('the person must have confirmed exactly this spec, slug and access', async () => {
    const { id: draftId, specDigest } = await calls.draftOf()
    const request = { draftId, specDigest, slug: newSlug() }
    const nothing = await generator.as(owner)
    expect(await reason(calls.servers.createServer(request, nothing))).toBe('not_confirmed')
    const url = (slug: string) => `${testPublicUrl}/s/${slug}/mcp`
    const shown = { specDigest, resourceUrl: url(request.slug), access: '' }
    for (const other of [
      { ...shown, specDigest: digestOf('other') },
      { ...shown, resourceUrl: url('another') },
      { ...shown, access: '{"kind":"anyone"}' },
    ]) {
      const as = await generator.as(owner, confirmedDigest(other))
      expect(await reason(calls.servers.createServer(request, as))).toBe('not_confirmed')
    }
    const wrong = { ...request, specDigest: digestOf('other') }
    const as = await generator.as(
      owner,
      confirmedDigest({ ...shown, specDigest: digestOf('other') }),
    )
    expect(await reason(calls.servers.createServer(wrong, as))).toBe('draft_changed')
  })
  test('a draft of another organisation cannot be confirmed', async () => {
    expect(await reason(calls.create(await calls.draftOf(), testUser()))).toBe('draft_not_found')
  })
  test('a viewer may not create', async () => {
    expect(await reason(calls.create(await calls.draftOf(), { ...owner, role: 'viewer' }))).toBe(
      'permission_missing',
    )
  })
  test('slugs are well formed, not reserved, and nobody else’s', async () => {
    const draft = await calls.draftOf()
    for (const bad of ['ab', 'Upper', '-a-b', 'ends-', 'a'.repeat(41), '1abc', 'a_b']) {
      expect(await reason(calls.create(draft, owner, { slug: bad }))).toBe('slug_invalid')
    }
    expect(await reason(calls.create(draft, owner, { slug: 'oauth' }))).toBe('slug_invalid')
    const { server } = await calls.create(draft)
    const stranger = testUser()
    const taken = { slug: server.slug }
    expect(
      await reason(calls.create(await calls.draftOf(petDocument, stranger), stranger, taken)),
    ).toBe('slug_taken')
  })
  test('refuses a slug or a name that passes for somebody else, and takes a brand beside an own word', async () => {
    const impostor = testUser()
    const named = (name: string) => calls.specDraft(codeSpec('return 1', { name }), impostor)
    const honest = await named('Google Drive API')
    const create = async (draft: Awaited<ReturnType<typeof named>>, slug: string) =>
      reason(calls.create(draft, impostor, { slug }))
    expect(await create(honest, 'google-drive')).toBe('slug_reserved')
    expect(await create(honest, 'build-my-mcp')).toBe('slug_reserved')
    const claim = await named('Google Drive (verified by Build My MCP)')
    expect(await create(claim, 'evil-google-drive')).toBe('name_reserved')
    expect(await create(claim, 'google-drive')).toBe('slug_reserved')
    expect(await create(honest, 'evil-google-drive')).toBe('done')
  })
  test('an organisation has a bounded number of servers and of used up slugs', async () => {
    const hoarder = testUser()
    const { sql } = generator.database
    const hoard = (state: string, count: number) => sql`
      insert into servers (id, org_id, slug, name, state, access, resource_url, latest_build_id, created_by)
      select 'srv_' || ${hoarder.orgId} || ${state} || n, ${hoarder.orgId}, ${hoarder.orgId} || ${state} || n,
        'x', ${state}, '{}', '', '', '' from generate_series(1, ${count}::int) n`
    const create = async () =>
      reason(calls.create(await calls.draftOf(petDocument, hoarder), hoarder))
    await hoard('paused', 199)
    expect(await create()).toBe('done')
    expect(await create()).toBe('too_many_servers')
    await sql`update servers set state = 'deleted' where org_id = ${hoarder.orgId}`
    expect(await create()).toBe('done')
    await hoard('deleted', 2_000)
    expect(await create()).toBe('too_many_servers')
    await sql`delete from servers where org_id = ${hoarder.orgId} and name = 'x'`
  })
  test('builds of an organisation that wait are bounded, so that others get their turn', async () => {
    const hasty = testUser()
    const { build } = await calls.create(await calls.draftOf(petDocument, hasty), hasty)
    await generator.database.sql`
      insert into builds (id, server_id, org_id, version, state, created_by)
      select ${build.id} || n, ${build.serverId}, ${hasty.orgId}, 1, 'queued', ''
      from generate_series(1, 12) n`
    const next = calls.create(await calls.draftOf(petDocument, hasty), hasty)
    expect(await reason(next)).toBe('too_many_builds')
    expect(await reason(calls.create(await calls.draftOf()))).toBe('done')
    await generator.database.sql`delete from builds where id like ${`${build.id}_%`}`
  })
  test('a spec of more than 8 MiB is refused, though its tools are few enough', async () => {
    const parameters = Array.from({ length: 50 }, (_, n) => ({
      ...{ name: `p${n}`, in: 'query', schema: { type: 'string' } },
      description: '長'.repeat(400),
    }))
    const paths = Array.from({ length: 200 }, (_, n) => [`/p${n}`, { get: { parameters } }])
    const draft = await calls.draftOf(openApi(Object.fromEntries(paths)))
    expect(draft.tools).toBe(200)
    expect(draft.spec.length).toBeGreaterThan(MAX_SPEC_BYTES)
    expect(await reason(calls.create(draft))).toBe('spec_too_large')
  })

  test('more than 200 tools are refused with tags, counts and how to filter', async () => {
    const draft = await calls.draftOf(openApi(manyPaths))
    expect(draft.tools).toBe(230)
    const refused = calls.create(draft)
    expect(await outcomeOf(refused)).toThrow('many (200), few (30)')
    expect(await reason(refused)).toBe('too_many_tools')
  })
  test('a spec without tools and an access rule of another kind are refused', async () => {
    expect(await reason(calls.create(await calls.specDraft(codeSpec('', { tools: [] }))))).toBe(
      'no_tools',
    )
    expect(
      await reason(calls.create(await calls.draftOf(), owner, { access: '{"kind":"all"}' })),
    ).toBe('access_invalid')
  })
  test('the access rule goes into the statement', async () => {
    const access = JSON.stringify({ kind: 'people', people: [owner.userId] })
    const { build } = await calls.create(await calls.draftOf(), owner, { access })
    await calls.ended(build.id)
    const bytes = generator.neighbours.deployed.at(-1)?.statement
    expect(jsonOf(bytes).access).toEqual(JSON.parse(access))
  })
  test('a repeated request gets the first answer, another one under the same key is refused', async () => {
    const draft = await calls.draftOf()
    const wish = { slug: newSlug(), idempotencyKey: crypto.randomUUID() }
    const answers = await Promise.all([1, 2, 3].map(() => calls.create(draft, owner, wish)))
    const again = await calls.create(draft, owner, wish)
    const ids = new Set([...answers, again].map(({ server, build }) => `${server.id} ${build.id}`))
    expect(ids.size).toBe(1)
    expect(await reason(calls.create(draft, owner, { ...wish, slug: newSlug() }))).toBe(
      'idempotency_key_reused',
    )
    const stranger = testUser()
    const theirs = { idempotencyKey: wish.idempotencyKey }
    expect(
      await reason(calls.create(await calls.draftOf(petDocument, stranger), stranger, theirs)),
    ).toBe('done')
  })
  test('the organisation sees its servers page by page, newest first, and no others', async () => {
    const user = testUser()
    const draft = await calls.draftOf(petDocument, user)
    const made = [
      await calls.create(draft, user),
      await calls.create(draft, user),
      await calls.create(draft, user),
    ]
    const newest = made.map(({ server }) => server.id).reverse()
    const first = await calls.servers.listServers({ limit: 2 }, await generator.as(user))
    expect(first.servers.map((server) => server.id)).toEqual(newest.slice(0, 2))
    const { nextCursor: cursor } = first
    const second = await calls.servers.listServers({ limit: 2, cursor }, await generator.as(user))
    expect(second.servers.map((server) => server.id)).toEqual(newest.slice(2))
    expect(second.nextCursor).toBe('')
    const call = await generator.as(user)
    expect(await reason(calls.servers.listServers({ cursor: 'x' }, call))).toBe('cursor_invalid')
    const theirs = await generator.as(testUser())
    expect((await calls.servers.listServers({}, theirs)).servers).toEqual([])
    const server = made[0]?.server.id ?? ''
    expect(await reason(calls.servers.getServer({ server }, theirs))).toBe('server_not_found')
    expect(await reason(calls.servers.getServerSpec({ server }, theirs))).toBe('server_not_found')
  })
})
