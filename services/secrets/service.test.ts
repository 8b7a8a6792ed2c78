/** The vault: who may put, list, open and delete secrets. */
import { describe, expect, test } from 'bun:test'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { ConfigError } from '@bmm/lib/env'
import { testUser } from '@bmm/lib/testing'
import { outcomeOf, reason } from '@bmm/lib/testing-outcome'
import { serverSpecBytes } from '@bmm/spec/server-spec'
import { openKeyring } from './keyring.ts'
import { canary, destination, origin, owner, spec, vaultOfFile } from './testing.ts'

const vault = await vaultOfFile()

describe('secrets', () => {
  test('the broker opens what the current statement names, with the stored destination', async () => {
    const { serverId, statement } = await vault.makeServer()
    await vault.put(serverId)
    await vault.put(serverId, { name: 'UNNAMED' })
    const { secrets: opened } = await vault.secrets('broker').openSecrets({ statement })
    expect(opened.map((secret) => [secret.name, Buffer.from(secret.value).toString()])).toEqual([
      ['API_KEY', canary],
    ])
    expect(opened[0]?.destination).toMatchObject(destination)
  })

  test('a later version with other origins does not move a stored value there', async () => {
    const { serverId } = await vault.makeServer()
    await vault.put(serverId)
    const elsewhere = 'https://evil.example.net'
    const changed = {
      ...spec,
      credentials: spec.credentials.map((c) => ({ ...c, origins: [elsewhere] })),
      egress: [{ origin: elsewhere }],
    }
    const { statement } = await vault.makeServer(serverSpecBytes(changed), owner, serverId)
    const { secrets: opened } = await vault.secrets('broker').openSecrets({ statement })
    expect(opened[0]?.destination?.origins).toEqual([origin])
  })

  test('listing shows name, destination, last four and who, never the value', async () => {
    const { serverId } = await vault.makeServer()
    await vault.put(serverId)
    await vault.put(serverId, { name: 'SHORT', value: Buffer.from('tiny') })
    const listed = await vault.secrets('gateway').listSecrets({ serverId }, await vault.user())
    expect(listed.secrets.map((s) => [s.name, s.lastFour, s.valueVersion, s.updatedBy])).toEqual([
      ['API_KEY', 'cdef', 1, owner.userId],
      ['SHORT', '', 1, owner.userId],
    ])
    expect(
      JSON.stringify(listed, (_key, v) => (typeof v === 'bigint' ? String(v) : v)),
    ).not.toContain(canary)
  })

  test('replacing a value raises its version and the old one is gone', async () => {
    const { serverId, statement } = await vault.makeServer()
    await vault.put(serverId)
    const { secret } = await vault.put(serverId, { value: Buffer.from('another') })
    expect(secret?.valueVersion).toBe(2)
    const { secrets: opened } = await vault.secrets('broker').openSecrets({ statement })
    expect(Buffer.from(opened[0]?.value ?? []).toString()).toBe('another')
  })

  test('a deleted value never lends its version to the next one: put back, its bytes do not open', async () => {
    const { sql } = vault.database
    const { serverId, statement } = await vault.makeServer()
    const versionOf = async (name: string) =>
      (await vault.put(serverId, { name })).secret?.valueVersion
    await vault.put(serverId)
    await vault.put(serverId)
    const [old] = await sql`select sealed from secrets where server_id = ${serverId}`
    const as = await vault.user()
    await vault.secrets('gateway').deleteSecret({ serverId, name: 'API_KEY' }, as)
    expect(await versionOf('API_KEY')).toBe(3)
    await vault.secrets('gateway').deleteSecret({ serverId, name: 'API_KEY' }, as)
    expect(await versionOf('OTHER')).toBe(4)
    expect(await versionOf('API_KEY')).toBe(4)
    await sql`update secrets set sealed = ${old?.sealed}
      where server_id = ${serverId} and name = 'API_KEY'`
    const opening = vault.secrets('broker').openSecrets({ statement })
    expect(await reason(opening)).toBe('secret_unreadable')
  })

  test('a row that is moved to another server, edited or given another destination does not open', async () => {
    const { sql } = vault.database
    const first = await vault.makeServer()
    const second = await vault.makeServer()
    await vault.put(first.serverId)
    await vault.put(second.serverId, { value: Buffer.from('other') })
    await sql`update secrets set sealed = (select sealed from secrets where server_id = ${first.serverId})
      where server_id = ${second.serverId}`
    const open = (statement: typeof first.statement) =>
      vault.secrets('broker').openSecrets({ statement })
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
    const { serverId } = await vault.makeServer()
    await vault.put(serverId)
    const stranger = testUser()
    expect(await reason(vault.put(serverId, {}, stranger))).toBe('server_not_found')
    const as = await vault.user(stranger)
    expect(await reason(vault.secrets('gateway').listSecrets({ serverId }, as))).toBe(
      'server_not_found',
    )
    const name = 'API_KEY'
    expect(await reason(vault.secrets('gateway').deleteSecret({ serverId, name }, as))).toBe(
      'secret_not_found',
    )
    expect(
      (await vault.secrets('gateway').listSecrets({ serverId }, await vault.user())).secrets,
    ).toHaveLength(1)
  })

  test('a viewer can list but not put or delete, and billing not even list', async () => {
    const { serverId } = await vault.makeServer()
    const viewer = { ...owner, role: 'viewer' }
    expect(await reason(vault.put(serverId, {}, viewer))).toBe('permission_missing')
    const deletion = vault
      .secrets('gateway')
      .deleteSecret({ serverId, name: 'A' }, await vault.user(viewer))
    expect(await reason(deletion)).toBe('permission_missing')
    expect(
      await reason(vault.secrets('gateway').listSecrets({ serverId }, await vault.user(viewer))),
    ).toBe('done')
    const billing = await vault.user({ ...owner, role: 'billing' })
    expect(await reason(vault.secrets('gateway').listSecrets({ serverId }, billing))).toBe(
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
    const { serverId } = await vault.makeServer()
    const request = {
      serverId,
      name: 'API_KEY',
      value: Buffer.from(canary),
      destination,
      ...overrides,
    }
    const options = what === 'no user token' ? {} : await vault.user()
    expect(await reason(vault.secrets('gateway').putSecret(request, options))).toBe(expected)
  })

  test('the twenty-first secret of a server is refused', async () => {
    const { serverId } = await vault.makeServer()
    for (let index = 0; index < 20; index++) await vault.put(serverId, { name: `KEY_${index}` })
    expect(await reason(vault.put(serverId, { name: 'ONE_MORE' }))).toBe('too_many_secrets')
    expect(await reason(vault.put(serverId, { name: 'KEY_3' }))).toBe('done')
  })

  test('a new data key seals new values and old values still open', async () => {
    const { serverId, statement } = await vault.makeServer()
    await vault.put(serverId)
    const { key } = await vault.secrets('operator').rotateDataKey({})
    const { secret } = await vault.put(serverId, { name: 'SECOND' })
    expect(secret?.keyVersion).toBe(key?.version ?? -1)
    const { secrets: opened } = await vault.secrets('broker').openSecrets({ statement })
    expect(Buffer.from(opened[0]?.value ?? []).toString()).toBe(canary)
    const { keys } = await vault.secrets('operator').listDataKeys({})
    expect(keys.filter((k) => k.active).map((k) => k.version)).toEqual([key?.version ?? -1])
  })

  test('no value and no key stands in the database in clear', async () => {
    const { serverId } = await vault.makeServer()
    await vault.put(serverId)
    const dump = await vault.database.sql`
      select t::text from secrets t union all select t::text from data_keys t
      union all select t::text from statement_keys t`
    const text = JSON.stringify(dump)
    const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
    for (const clear of [
      canary,
      hex(Buffer.from(canary)),
      hex(vault.kek),
      hex(vault.keyring.active().key),
    ]) {
      expect(text).not.toContain(clear)
    }
  })

  test('a row of statement keys that somebody else wrote makes no signature good', async () => {
    const { sql } = vault.database
    const forger = generateKeyPairSync('ed25519')
    const publicKey = forger.publicKey.export({ format: 'der', type: 'spki' })
    const [own] = await sql`select key_id as "keyId", public_key as "publicKey" from statement_keys`
    await sql`update statement_keys set public_key = ${publicKey}`
    expect((await openKeyring(sql, vault.kek)).statementKeys.get(own?.keyId)).toEqual(
      own?.publicKey,
    )
    await sql`update statement_keys set public_key = ${own?.publicKey}`
    await sql`insert into statement_keys (key_id, public_key, wrapped, created_at)
      select 'forged', ${publicKey}, wrapped, created_at - interval '1 hour' from statement_keys`
    expect(await outcomeOf(openKeyring(sql, vault.kek))).toThrow(ConfigError)
    await sql`delete from statement_keys where key_id = 'forged'`
  })

  test('the service does not open its keyring with another key-encryption key', async () => {
    expect(await outcomeOf(openKeyring(vault.database.sql, randomBytes(32)))).toThrow(ConfigError)
  })
})
