/** Rows that somebody else wrote: whoever can write the schema changes no contract and brings no epoch back. */
import { beforeEach, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { ConfigError } from '@bmm/lib/env'
import { seal } from '@bmm/lib/envelope'
import { newId } from '@bmm/lib/ids'
import { migrate, type Sql, type Transaction } from '@bmm/lib/sql'
import { testDatabase, testLog, testUser } from '@bmm/lib/testing'
import { outcomeOf, reason } from '@bmm/lib/testing-outcome'
import { StopReason } from '@bmm/proto/secrets/v1/secrets_service'
import { openAnyKey } from './key-seal.ts'
import { openKeyring } from './keyring.ts'
import { openLedger } from './ledger.ts'
import { secretsMigrations } from './migration.ts'
import { confirmedIn, moduleDigest, owner, specBytes, specDigest, vaultOfFile } from './testing.ts'

const vault = await vaultOfFile()

/** Recorded by a person, not signed yet. */
async function recorded() {
  const confirmationId = newId('cnf')
  const request = {
    confirmationId,
    serverId: newId('srv'),
    spec: specBytes,
    specDigest,
    resourceUrl: 'http://localhost:8787/s/example/mcp',
    access: '{"kind":"org"}',
  }
  const as = await vault.user(owner, confirmedIn(request))
  await vault.statements('generator').recordConfirmation(request, as)
  return { confirmationId, serverId: request.serverId }
}

const sign = (confirmationId: string) =>
  reason(vault.statements('generator').signServe({ confirmationId, version: 1, moduleDigest }))

describe('between confirming and signing', () => {
  let made: Awaited<ReturnType<typeof recorded>>
  beforeEach(async () => {
    made = await recorded()
  })

  test('an untouched row is signed', async () => {
    expect(await sign(made.confirmationId)).toBe('done')
  })

  test('who may call, where it may go and whose it is cannot be changed', async () => {
    const { sql } = vault.database
    const { confirmationId: id, serverId } = made
    const [row] = await sql`select * from confirmations where id = ${id}`
    const changes = [
      () => sql`update confirmations set contract =
        replace(contract, '"kind":"org"', '"kind":"anyone"') where id = ${id}`,
      () => sql`update confirmations set contract =
        replace(contract, 'api.example.com', 'api.evil.example') where id = ${id}`,
      () =>
        sql`update confirmations set spec_digest = ${`sha256:${'0'.repeat(64)}`} where id = ${id}`,
      () => sql`update confirmations set user_id = 'usr_1' where id = ${id}`,
      () => sql`update confirmations set mac = '' where id = ${id}`,
      () => sql`update confirmations set mac = ${randomBytes(32)} where id = ${id}`,
      () => sql`update servers set org_id = 'org_1' where server_id = ${serverId}`,
      () => sql`update servers set epoch = 7 where server_id = ${serverId}`,
    ]
    const [server] = await sql`select org_id, epoch from servers where server_id = ${serverId}`
    for (const change of changes) {
      await change()
      expect(await sign(id)).toBe('row_tampered')
      await sql`update confirmations set contract = ${row?.contract}, mac = ${row?.mac},
        spec_digest = ${row?.spec_digest}, user_id = ${row?.user_id} where id = ${id}`
      await sql`update servers set org_id = ${server?.org_id}, epoch = ${server?.epoch}
        where server_id = ${serverId}`
    }
    expect(await sign(id)).toBe('done')
  })

  test('the mark of another row or another key is none', async () => {
    const { sql } = vault.database
    const other = await recorded()
    await sql`update confirmations set mac =
      (select mac from confirmations where id = ${other.confirmationId})
      where id = ${made.confirmationId}`
    expect(await sign(made.confirmationId)).toBe('row_tampered')
    const foreign = openLedger({ kek: randomBytes(32), log: testLog })
    expect(await reason(foreign.findConfirmation(sql, other.confirmationId))).toBe('row_tampered')
  })

  test('a used confirmation cannot be made unused', async () => {
    await sign(made.confirmationId)
    await vault.database.sql`update confirmations set epoch = null, version = null,
      module_digest = null where id = ${made.confirmationId}`
    expect(await sign(made.confirmationId)).toBe('row_tampered')
  })
})

describe('a server whose epoch was brought back', () => {
  test('signs and opens nothing, by a changed number or by its own older row', async () => {
    const { sql } = vault.database
    const { serverId, statement } = await vault.makeServer()
    await vault.put(serverId)
    const open = () => reason(vault.secrets('broker').openSecrets({ statement }))
    expect(await open()).toBe('done')
    const [older] = await sql`select * from servers where server_id = ${serverId}`
    const stop = { serverId, reason: StopReason.PAUSED }
    await vault.statements('generator').signStop(stop, await vault.user())
    expect(await open()).toBe('statement_superseded')

    await sql`update servers set epoch = 1 where server_id = ${serverId}`
    expect(await open()).toBe('row_tampered')
    await sql`update servers set statement = ${older?.statement}, signature = ${older?.signature},
      mac = ${older?.mac} where server_id = ${serverId}`
    expect(await open()).toBe('row_tampered')
    expect(await reason(vault.put(serverId))).toBe('row_tampered')
    const again = vault.statements('generator').signStop(stop, await vault.user())
    expect(await reason(again)).toBe('row_tampered')
  })
})

describe('what was confirmed last', () => {
  test('is told to who may read the server, and only as it was confirmed', async () => {
    const { serverId, confirmationId } = await vault.makeServer()
    const get = async (of = owner) =>
      vault.statements('gateway').getConfirmed({ serverId }, await vault.user(of))
    expect(await get()).toMatchObject({ specDigest, access: '{"kind":"org"}' })
    expect(await reason(get(testUser()))).toBe('server_not_found')
    const unsigned = await recorded()
    const none = vault
      .statements('gateway')
      .getConfirmed({ serverId: unsigned.serverId }, await vault.user())
    expect(await reason(none)).toBe('nothing_confirmed')
    await vault.database.sql`update confirmations set contract =
      replace(contract, '"kind":"org"', '"kind":"anyone"') where id = ${confirmationId}`
    expect(await reason(get())).toBe('row_tampered')
  })
})

describe('rows of an earlier version', () => {
  const kek = randomBytes(32)
  const migrations = join(import.meta.dir, 'migrations')

  async function withoutMarks(sql: Sql) {
    await sql`alter table servers drop column mac`
    await sql`alter table confirmations drop column mac`
    const steps = ['0002-row-macs.sql', '0004-marked-keys.sql']
    await sql`delete from schema_migrations where name = any(${steps})`
  }

  /** As the first version left it: unmarked rows, and keys whose seals say nothing of marks. */
  async function earlier() {
    const database = await testDatabase('secrets', migrations)
    const { sql } = database
    await withoutMarks(sql)
    await openKeyring(sql, kek)
    await sealAsBefore(sql)
    await sql`insert into servers (server_id, org_id) values ('srv_1', 'org_1')`
    await sql`insert into confirmations (id, server_id, user_id, spec_digest, contract)
      values ('cnf_1', 'srv_1', 'usr_1', ${specDigest}, '{}')`
    return database
  }
  async function sealAsBefore(sql: Sql) {
    for (const { version, wrapped } of await sql`select version, wrapped from data_keys`) {
      const name = ['data-key', version] as const
      const sealed = Buffer.from(seal(kek, openAnyKey(kek, wrapped, name).key, name))
      await sql`update data_keys set wrapped = ${sealed} where version = ${version}`
    }
    for (const {
      keyId,
      wrapped,
    } of await sql`select key_id as "keyId", wrapped from statement_keys`) {
      const name = ['statement-key', keyId] as const
      const sealed = Buffer.from(seal(kek, openAnyKey(kek, wrapped, name).key, name))
      await sql`update statement_keys set wrapped = ${sealed} where key_id = ${keyId}`
    }
  }
  const start = (sql: Sql, key = kek) => migrate(sql, 'secrets', secretsMigrations(key))

  test('are marked once, when the marks come', async () => {
    await using database = await earlier()
    const { sql } = database
    await start(sql)
    await openKeyring(sql, kek)
    const ledger = openLedger({ kek, log: testLog })
    expect(await ledger.findServer(sql, 'srv_1')).toMatchObject({ orgId: 'org_1' })
    expect(await ledger.findConfirmation(sql, 'cnf_1')).toMatchObject({ userId: 'usr_1' })
    await sql`update servers set mac = '' where server_id = 'srv_1'`
    await start(sql)
    expect(await reason(ledger.findServer(sql, 'srv_1'))).toBe('row_tampered')
  })

  test('are not marked again when somebody undoes the migration, whatever else they forget', async () => {
    await using database = await earlier()
    const { sql } = database
    await start(sql)
    await withoutMarks(sql)
    await sql`update confirmations set contract = '{"forged":true}'`
    for (const change of [
      () => sql`select 1`,
      () => sql`delete from data_keys`,
      () => sql`delete from statement_keys`,
    ]) {
      await change()
      expect(await outcomeOf(start(sql))).toThrow('Nothing is marked again')
      // It was all undone.
      expect(await outcomeOf(sql`select mac from confirmations`.execute())).toThrow('mac')
    }
  })

  test('keep their marks where only the seals of the keys are of before', async () => {
    await using database = await earlier()
    const { sql } = database
    await start(sql)
    await sealAsBefore(sql)
    expect(await outcomeOf(openKeyring(sql, kek))).toThrow('before rows were marked')
    await sql`delete from schema_migrations where name = '0004-marked-keys.sql'`
    await sql`update confirmations set mac = ''`
    await start(sql)
    await openKeyring(sql, kek)
    const ledger = openLedger({ kek, log: testLog })
    expect(await ledger.findServer(sql, 'srv_1')).toMatchObject({ orgId: 'org_1' })
    expect(await reason(ledger.findConfirmation(sql, 'cnf_1'))).toBe('row_tampered')
  })

  test('are marked by the next start when one breaks off before the keys are sealed anew', async () => {
    await using database = await earlier()
    const { sql } = database
    const breaking = secretsMigrations(kek).map((migration) => ({
      ...migration,
      async after(transaction: Transaction) {
        await migration.after?.(transaction)
        if (migration.name.startsWith('0004')) throw new Error('the process is killed')
      },
    }))
    expect(await outcomeOf(migrate(sql, 'secrets', breaking))).toThrow('killed')
    await start(sql)
    await openKeyring(sql, kek)
    const ledger = openLedger({ kek, log: testLog })
    expect(await ledger.findServer(sql, 'srv_1')).toMatchObject({ orgId: 'org_1' })
  })

  test('are not marked by a foreign key-encryption key', async () => {
    await using database = await earlier()
    const { sql } = database
    expect(await outcomeOf(start(sql, randomBytes(32)))).toThrow(ConfigError)
    await start(sql)
  })
})
