/** Clients of the operator's, through the generated client: registering, using, listing and deleting them. */
import { describe, expect, test } from 'bun:test'
import { reasonOf } from '@bmm/lib/errors'
import { revokedKey } from '@bmm/lib/hints'
import { Code, ConnectError } from '@connectrpc/connect'
import { cleanUp } from '../clean-up.ts'
import {
  authOfFile,
  callback,
  claimsOf,
  getTokens,
  isActive,
  openConsent,
  register,
  signIn,
  testResource,
} from '../testing.ts'

const DAY_MS = 86_400_000
const auth = await authOfFile()
const owner = await signIn(auth)
const resource = testResource(owner.orgId)

const wanted = { name: 'Warehouse', redirectUris: [callback], authMethod: 'none' }
const create = async (more: Partial<typeof wanted> = {}) => {
  const { client, clientSecret } = await auth.clients.createClient({ ...wanted, ...more })
  return { id: client?.id ?? '', client, clientSecret }
}
const faultOf = async (work: Promise<unknown>) => {
  const thrown = await work.catch((error: unknown) => error)
  return thrown instanceof ConnectError ? [thrown.code, reasonOf(thrown)] : thrown
}

describe('a client of the operator’s', () => {
  test('gets tokens like one that registered itself, and its name is vouched for', async () => {
    const { id, clientSecret } = await create()
    expect(clientSecret).toBe('')
    const consent = await openConsent(auth, owner, id, resource)
    expect(consent).toMatchObject({ clientName: 'Warehouse', clientByOperator: true })
    const own = (await register(auth, { client_name: 'Warehouse' })).client_id
    const stranger = await openConsent(auth, owner, own, resource)
    expect(stranger).toMatchObject({ clientName: 'Warehouse', clientByOperator: false })
    const tokens = await getTokens(auth, owner, id, resource)
    expect(claimsOf(tokens.access_token).client_id).toBe(id)
  })

  test('has a secret when it says who it is by one, and only its hash is kept', async () => {
    const { id, clientSecret } = await create({ authMethod: 'client_secret_basic' })
    expect(clientSecret).toMatch(/^bmk_/)
    const { sql } = auth.database
    const [row] = await sql`select * from oauth_clients where id = ${id}`
    expect(JSON.stringify(row)).not.toContain(clientSecret)
    expect(row?.secretHash ?? row?.secret_hash).toHaveLength(32)
  })

  test.each([
    ['a redirect to plain http', { redirectUris: ['http://example.com/callback'] }],
    ['a redirect with a fragment', { redirectUris: [`${callback}#x`] }],
    ['a redirect that is a script', { redirectUris: ['javascript:alert(1)'] }],
    ['no redirect', { redirectUris: [] }],
    ['no name', { name: '' }],
    ['an unknown way to say who it is', { authMethod: 'private_key_jwt' }],
  ])('is refused with %s', async (_what, more) => {
    const [code] = [await faultOf(create(more))].flat()
    expect(code).toBe(Code.InvalidArgument)
  })

  test('is listed, without those that registered themselves', async () => {
    const { id } = await create({ name: 'Listed' })
    const { client_id: own } = await register(auth)
    const { clients } = await auth.clients.listClients({})
    const ids = clients.map((client) => client.id)
    expect(ids).toContain(id)
    expect(ids).not.toContain(own)
    expect(clients.find((client) => client.id === id)).toMatchObject({
      ...{ name: 'Listed', redirectUris: [callback], authMethod: 'none' },
    })
  })
})

describe('deleting', () => {
  test('ends every permission at once, and the id is unknown from then on', async () => {
    const { id } = await create()
    const tokens = await getTokens(auth, owner, id, resource)
    expect(await auth.clients.deleteClient({ id })).toMatchObject({ endedGrants: 1 })
    const grant = String(claimsOf(tokens.access_token).grant)
    expect(await auth.redis.redis.exists(revokedKey(grant))).toBe(1)
    const { revocations } = await auth.oauth.listRevocations({ after: 0n })
    expect(revocations.map(({ grantId }) => grantId)).toContain(grant)
    expect(await faultOf(auth.clients.deleteClient({ id }))).toEqual([
      Code.NotFound,
      'client_not_found',
    ])
  })

  test('leaves clients that registered themselves alone', async () => {
    const { client_id: id } = await register(auth)
    const tokens = await getTokens(auth, owner, id, resource)
    expect(await faultOf(auth.clients.deleteClient({ id }))).toEqual([
      Code.NotFound,
      'client_not_found',
    ])
    expect(await isActive(auth, id, tokens.access_token)).toBe(true)
  })
})

test('there are a thousand such clients at most', async () => {
  const { sql } = auth.database
  await sql`
    insert into oauth_clients
      (id, auth_method, name, redirect_uris, grant_types, by_operator, created_at)
    select 'cli_many' || n, 'none', 'Many', '{}', '{}', true, now()
    from generate_series(1, 1000 - (select count(*) from oauth_clients where by_operator)) n`
  expect(await faultOf(create())).toEqual([Code.ResourceExhausted, 'client_limit'])
  await sql`delete from oauth_clients where id = 'cli_many1'`
  expect((await create()).id).toStartWith('cli_')
  await sql`delete from oauth_clients where id like 'cli_many%'`
})

describe('cleaning up', () => {
  test('a client of the operator’s is there after years without use, unlike one that registered itself', async () => {
    const { id } = await create()
    const { client_id: own } = await register(auth)
    await cleanUp(auth.database.sql, auth.clock.now() + 1_000 * DAY_MS)
    const { sql } = auth.database
    const kept = await sql<{ id: string }[]>`
      select id from oauth_clients where id in ${sql([id, own])}`
    expect(kept.map((row) => row.id)).toEqual([id])
  })
})
