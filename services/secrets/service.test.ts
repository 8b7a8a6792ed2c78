import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { asUser } from '@bmm/lib/client'
import { ConfigError } from '@bmm/lib/env'
import { reasonOf } from '@bmm/lib/errors'
import type { ServiceName } from '@bmm/lib/identity'
import { newId } from '@bmm/lib/ids'
import {
  type TestDatabase,
  type TestIdentities,
  type TestRpc,
  testDatabase,
  testIdentities,
  testRpc,
  testUser,
} from '@bmm/lib/testing'
import { Scheme } from '@bmm/proto/secrets/v1/secret'
import { SecretsService, StatementService, StopReason } from '@bmm/proto/secrets/v1/secrets_service'
import { digestOf } from '@bmm/spec/digest'
import { type ServerSpec, serverSpecBytes } from '@bmm/spec/server-spec'
import { openStatement } from '@bmm/spec/statement'
import { type Keyring, openKeyring } from './keyring.ts'
import { secretsRoutes } from './service.ts'

const kek = randomBytes(32)
const canary = 'sk-canary-0123456789abcdef'
const origin = 'https://api.example.com'
const destination = { scheme: Scheme.BEARER, parameter: '', origins: [origin] }
const spec: ServerSpec = {
  specVersion: 1,
  name: 'Example',
  description: '',
  tools: [],
  credentials: [{ name: 'API_KEY', description: '', scheme: 'bearer', origins: [origin] }],
  egress: [{ origin }],
}
const specBytes = serverSpecBytes(spec)
const specDigest = digestOf(specBytes)
const moduleDigest = digestOf('')
const owner = testUser()

let database: TestDatabase
let identities: TestIdentities
let rpc: TestRpc
let keyring: Keyring

beforeAll(async () => {
  database = await testDatabase('secrets', join(import.meta.dir, 'migrations'))
  identities = await testIdentities()
  keyring = await openKeyring(database.sql, kek)
  rpc = testRpc(identities)
  rpc.serve('secrets', secretsRoutes({ sql: database.sql, keyring, now: () => new Date() }))
})
afterAll(async () => {
  await rpc[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

const secrets = (from: ServiceName) => rpc.client(SecretsService, 'secrets', from)
const statements = (from: ServiceName) => rpc.client(StatementService, 'secrets', from)
const user = async (of = owner, confirmDigest?: string) =>
  asUser(await identities.mintUser(of, confirmDigest === undefined ? {} : { confirmDigest }))
const reason = (promise: Promise<unknown>) =>
  promise.then(
    () => 'done',
    (error) => reasonOf(error),
  )

/** Confirms and signs: a server of `owner` with one serve statement. */
async function makeServer(bytes = specBytes, of = owner, serverId = newId('srv')) {
  const confirmationId = newId('cnf')
  const digest = digestOf(bytes)
  const request = {
    confirmationId,
    serverId,
    spec: bytes,
    specDigest: digest,
    resourceUrl: 'http://localhost:8787/s/example/mcp',
    access: '{"kind":"org"}',
  }
  await statements('generator').recordConfirmation(request, await user(of, digest))
  const signing = { confirmationId, version: 1, moduleDigest }
  const { statement, epoch } = await statements('generator').signServe(signing)
  if (statement === undefined) throw new Error('no statement')
  return { serverId, confirmationId, request, statement, epoch }
}

const put = async (serverId: string, overrides = {}, of = owner) =>
  secrets('gateway').putSecret(
    { serverId, name: 'API_KEY', value: Buffer.from(canary), destination, ...overrides },
    await user(of),
  )

describe('secrets', () => {
  test('the broker opens what the current statement names, with the stored destination', async () => {
    const { serverId, statement } = await makeServer()
    await put(serverId)
    await put(serverId, { name: 'UNNAMED' })
    const { secrets: opened } = await secrets('broker').openSecrets({ statement })
    expect(opened.map((secret) => [secret.name, Buffer.from(secret.value).toString()])).toEqual([
      ['API_KEY', canary],
    ])
    expect(opened[0]?.destination).toMatchObject(destination)
  })

  test('a later version with other origins does not move a stored value there', async () => {
    const { serverId } = await makeServer()
    await put(serverId)
    const elsewhere = 'https://evil.example.net'
    const changed = {
      ...spec,
      credentials: spec.credentials.map((c) => ({ ...c, origins: [elsewhere] })),
      egress: [{ origin: elsewhere }],
    }
    const { statement } = await makeServer(serverSpecBytes(changed), owner, serverId)
    const { secrets: opened } = await secrets('broker').openSecrets({ statement })
    expect(opened[0]?.destination?.origins).toEqual([origin])
  })

  test('listing shows name, destination, last four and who, never the value', async () => {
    const { serverId } = await makeServer()
    await put(serverId)
    await put(serverId, { name: 'SHORT', value: Buffer.from('tiny') })
    const listed = await secrets('gateway').listSecrets({ serverId }, await user())
    expect(listed.secrets.map((s) => [s.name, s.lastFour, s.valueVersion, s.updatedBy])).toEqual([
      ['API_KEY', 'cdef', 1, owner.userId],
      ['SHORT', '', 1, owner.userId],
    ])
    expect(
      JSON.stringify(listed, (_key, v) => (typeof v === 'bigint' ? String(v) : v)),
    ).not.toContain(canary)
  })

  test('replacing a value raises its version and the old one is gone', async () => {
    const { serverId, statement } = await makeServer()
    await put(serverId)
    const { secret } = await put(serverId, { value: Buffer.from('another') })
    expect(secret?.valueVersion).toBe(2)
    const { secrets: opened } = await secrets('broker').openSecrets({ statement })
    expect(Buffer.from(opened[0]?.value ?? []).toString()).toBe('another')
  })

  test('a row that is moved to another server, edited or given another destination does not open', async () => {
    const { sql } = database
    const first = await makeServer()
    const second = await makeServer()
    await put(first.serverId)
    await put(second.serverId, { value: Buffer.from('other') })
    await sql`update secrets set sealed = (select sealed from secrets where server_id = ${first.serverId})
      where server_id = ${second.serverId}`
    const open = (statement: typeof first.statement) => secrets('broker').openSecrets({ statement })
    expect(await reason(open(second.statement))).toBe('secret_unreadable')
    const moved = JSON.stringify({
      scheme: 'bearer',
      parameter: '',
      origins: ['https://evil.example.net'],
    })
    await sql`update secrets set destination = ${moved} where server_id = ${first.serverId}`
    expect(await reason(open(first.statement))).toBe('secret_unreadable')
  })

  test('another organisation can neither put, list nor delete', async () => {
    const { serverId } = await makeServer()
    await put(serverId)
    const stranger = testUser()
    expect(await reason(put(serverId, {}, stranger))).toBe('server_not_found')
    const as = await user(stranger)
    expect(await reason(secrets('gateway').listSecrets({ serverId }, as))).toBe('server_not_found')
    const name = 'API_KEY'
    expect(await reason(secrets('gateway').deleteSecret({ serverId, name }, as))).toBe(
      'secret_not_found',
    )
    expect((await secrets('gateway').listSecrets({ serverId }, await user())).secrets).toHaveLength(
      1,
    )
  })

  test('a viewer can list but not put or delete, and billing not even list', async () => {
    const { serverId } = await makeServer()
    const viewer = { ...owner, role: 'viewer' }
    expect(await reason(put(serverId, {}, viewer))).toBe('permission_missing')
    const deletion = secrets('gateway').deleteSecret({ serverId, name: 'A' }, await user(viewer))
    expect(await reason(deletion)).toBe('permission_missing')
    expect(await reason(secrets('gateway').listSecrets({ serverId }, await user(viewer)))).toBe(
      'done',
    )
    const billing = await user({ ...owner, role: 'billing' })
    expect(await reason(secrets('gateway').listSecrets({ serverId }, billing))).toBe(
      'permission_missing',
    )
  })

  test.each([
    ['no user token', {}, 'user_required'],
    ['a value with a line break', { value: Buffer.from('a\r\nx: y') }, 'value_invalid'],
    ['a value that is not UTF-8', { value: Uint8Array.from([0xff, 0xfe]) }, 'value_invalid'],
    ['an empty value', { value: new Uint8Array() }, 'invalid_request'],
    ['a value over 16 KiB', { value: Buffer.alloc(16_385, 'a') }, 'invalid_request'],
    ['a lower-case name', { name: 'api_key' }, 'invalid_request'],
    ['no destination', { destination: undefined }, 'invalid_request'],
    [
      'an origin with a path',
      { destination: { ...destination, origins: [`${origin}/x`] } },
      'destination_invalid',
    ],
    [
      'a bearer with a parameter',
      { destination: { ...destination, parameter: 'x' } },
      'destination_invalid',
    ],
  ])('putting with %s is refused', async (what, overrides, expected) => {
    const { serverId } = await makeServer()
    const request = {
      serverId,
      name: 'API_KEY',
      value: Buffer.from(canary),
      destination,
      ...overrides,
    }
    const options = what === 'no user token' ? {} : await user()
    expect(await reason(secrets('gateway').putSecret(request, options))).toBe(expected)
  })

  test('the twenty-first secret of a server is refused', async () => {
    const { serverId } = await makeServer()
    for (let index = 0; index < 20; index++) await put(serverId, { name: `KEY_${index}` })
    expect(await reason(put(serverId, { name: 'ONE_MORE' }))).toBe('too_many_secrets')
    expect(await reason(put(serverId, { name: 'KEY_3' }))).toBe('done')
  })

  test('a new data key seals new values and old values still open', async () => {
    const { serverId, statement } = await makeServer()
    await put(serverId)
    const { key } = await secrets('operator').rotateDataKey({})
    const { secret } = await put(serverId, { name: 'SECOND' })
    expect(secret?.keyVersion).toBe(key?.version ?? -1)
    const { secrets: opened } = await secrets('broker').openSecrets({ statement })
    expect(Buffer.from(opened[0]?.value ?? []).toString()).toBe(canary)
    const { keys } = await secrets('operator').listDataKeys({})
    expect(keys.filter((k) => k.active).map((k) => k.version)).toEqual([key?.version ?? -1])
  })

  test('no value and no key stands in the database in clear', async () => {
    const { serverId } = await makeServer()
    await put(serverId)
    const dump = await database.sql`
      select t::text from secrets t union all select t::text from data_keys t
      union all select t::text from statement_keys t`
    const text = JSON.stringify(dump)
    const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
    for (const clear of [canary, hex(Buffer.from(canary)), hex(kek), hex(keyring.active().key)]) {
      expect(text).not.toContain(clear)
    }
  })

  test('a row of statement keys that somebody else wrote makes no signature good', async () => {
    const { sql } = database
    const forger = generateKeyPairSync('ed25519')
    const publicKey = forger.publicKey.export({ format: 'der', type: 'spki' })
    const [own] = await sql`select key_id as "keyId", public_key as "publicKey" from statement_keys`
    await sql`update statement_keys set public_key = ${publicKey}`
    expect((await openKeyring(sql, kek)).statementKeys.get(own?.keyId)).toEqual(own?.publicKey)
    await sql`update statement_keys set public_key = ${own?.publicKey}`
    await sql`insert into statement_keys (key_id, public_key, wrapped, created_at)
      select 'forged', ${publicKey}, wrapped, created_at - interval '1 hour' from statement_keys`
    await expect(openKeyring(sql, kek)).rejects.toThrow(ConfigError)
    await sql`delete from statement_keys where key_id = 'forged'`
  })

  test('the service does not open its keyring with another key-encryption key', async () => {
    await expect(openKeyring(database.sql, randomBytes(32))).rejects.toThrow(ConfigError)
  })
})

describe('statements', () => {
  test('a confirmed contract is signed with what was shown and verifies', async () => {
    const { statement, serverId, epoch } = await makeServer()
    const { keys } = await statements('runner').listStatementKeys({})
    const known = new Map(keys.map((key) => [key.keyId, key.publicKey]))
    expect(openStatement(statement, known)).toMatchObject({
      kind: 'serve',
      serverId,
      orgId: owner.orgId,
      epoch: Number(epoch),
      version: 1,
      specDigest,
      moduleDigest,
      access: { kind: 'org' },
      egress: spec.egress,
      credentials: spec.credentials,
    })
    const flipped = { ...statement, bytes: statement.bytes.map((b, i) => (i === 40 ? b ^ 1 : b)) }
    expect(openStatement(flipped, known)).toBeUndefined()
  })

  test('bytes that the person did not confirm are not recorded', async () => {
    const { request } = await makeServer()
    const record = async (changes: object, digest?: string) =>
      reason(
        statements('generator').recordConfirmation(
          { ...request, confirmationId: newId('cnf'), serverId: newId('srv'), ...changes },
          await user(owner, digest),
        ),
      )
    expect(await record({})).toBe('not_confirmed')
    expect(await record({}, digestOf('other'))).toBe('not_confirmed')
    expect(await record({ specDigest: digestOf('other') }, digestOf('other'))).toBe('spec_invalid')
    expect(await record({ spec: Buffer.from('{}') }, specDigest)).toBe('spec_invalid')
    expect(await record({ access: '{"kind":"all"}' }, specDigest)).toBe('spec_invalid')
    expect(await record({}, specDigest)).toBe('done')
  })

  test('a confirmation signs once; repeating it gives the same bytes, changing it is refused', async () => {
    const { confirmationId, statement, request } = await makeServer()
    const again = await statements('generator').signServe({
      confirmationId,
      version: 1,
      moduleDigest,
    })
    expect(again.statement?.bytes).toEqual(statement.bytes)
    const other = { confirmationId, version: 1, moduleDigest: digestOf('other') }
    expect(await reason(statements('generator').signServe(other))).toBe('confirmation_used')
    const changed = { ...request, access: '{"kind":"anyone"}' }
    const record = statements('generator').recordConfirmation(
      changed,
      await user(owner, specDigest),
    )
    expect(await reason(record)).toBe('confirmation_exists')
    const unknown = { confirmationId: newId('cnf'), version: 1, moduleDigest }
    expect(await reason(statements('generator').signServe(unknown))).toBe('confirmation_not_found')
  })

  test('an older statement opens nothing once a newer one stands, nor does a stop', async () => {
    const { serverId, statement } = await makeServer()
    await put(serverId)
    const second = await makeServer(specBytes, owner, serverId)
    expect(second.epoch).toBe(2n)
    const open = (signed: typeof statement) =>
      reason(secrets('broker').openSecrets({ statement: signed }))
    expect(await open(statement)).toBe('statement_superseded')
    expect(await open(second.statement)).toBe('done')
    const stop = { serverId, reason: StopReason.PAUSED }
    const stopped = await statements('generator').signStop(stop, await user())
    expect(await open(second.statement)).toBe('statement_superseded')
    if (stopped.statement === undefined) throw new Error('no stop')
    expect(await open(stopped.statement)).toBe('statement_invalid')
  })

  test('a forged or altered statement opens nothing', async () => {
    const { serverId, statement } = await makeServer()
    await put(serverId)
    const open = (signed: typeof statement) =>
      reason(secrets('broker').openSecrets({ statement: signed }))
    for (const index of [0, 30, statement.bytes.length - 2]) {
      const bytes = statement.bytes.map((b, i) => (i === index ? b ^ 1 : b))
      expect(await open({ ...statement, bytes })).toBe('statement_invalid')
    }
    expect(await open({ ...statement, signature: randomBytes(64) })).toBe('statement_invalid')
    expect(await open({ ...statement, keyId: 'unknown' })).toBe('statement_invalid')
  })

  test('after a deletion nothing more is signed, and only then the secrets go', async () => {
    const { serverId } = await makeServer()
    await put(serverId)
    const wipe = () => secrets('generator').deleteServerSecrets({ serverId })
    expect(await reason(wipe())).toBe('server_not_deleted')
    const stop = { serverId, reason: StopReason.DELETED }
    const first = await statements('generator').signStop(stop, await user())
    const again = await statements('generator').signStop(stop, await user())
    expect(again.statement?.bytes).toEqual(first.statement?.bytes ?? new Uint8Array())
    expect((await wipe()).deleted).toBe(1)
    expect((await wipe()).deleted).toBe(0)
    expect(await reason(makeServer(specBytes, owner, serverId))).toBe('server_deleted')
  })

  test('another organisation cannot confirm or stop a server', async () => {
    const { serverId } = await makeServer()
    const stranger = testUser()
    expect(await reason(makeServer(specBytes, stranger, serverId))).toBe('server_not_found')
    const stop = { serverId, reason: StopReason.DELETED }
    expect(await reason(statements('generator').signStop(stop, await user(stranger)))).toBe(
      'server_not_found',
    )
  })

  test('fifty processes that sign at once give out fifty epochs', async () => {
    const { serverId } = await makeServer()
    const made = await Promise.all(
      Array.from({ length: 50 }, () => makeServer(specBytes, owner, serverId)),
    )
    expect(new Set(made.map((one) => one.epoch)).size).toBe(50)
  })
})
