/** The signer: what is confirmed, signed, superseded and ended. */
import { describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { newId } from '@bmm/lib/ids'
import { testUser } from '@bmm/lib/testing'
import { reason } from '@bmm/lib/testing-outcome'
import { StopReason } from '@bmm/proto/secrets/v1/secrets_service'
import { digestOf } from '@bmm/spec/digest'
import { openStatement } from '@bmm/spec/statement'
import {
  confirmedIn,
  moduleDigest,
  owner,
  spec,
  specBytes,
  specDigest,
  vaultOfFile,
} from './testing.ts'

const vault = await vaultOfFile()

describe('statements', () => {
  test('a confirmed contract is signed with what was shown and verifies', async () => {
    const { statement, serverId, epoch } = await vault.makeServer()
    const { keys } = await vault.statements('runner').listStatementKeys({})
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
    const { request } = await vault.makeServer()
    const record = async (changes: object, digest?: string) =>
      reason(
        vault
          .statements('generator')
          .recordConfirmation(
            { ...request, confirmationId: newId('cnf'), serverId: newId('srv'), ...changes },
            await vault.user(owner, digest),
          ),
      )
    expect(await record({})).toBe('not_confirmed')
    expect(await record({}, specDigest)).toBe('not_confirmed')
    const confirmed = confirmedIn(request)
    expect(await record({ access: '{"kind":"anyone"}' }, confirmed)).toBe('not_confirmed')
    const elsewhere = 'http://localhost:8787/s/other/mcp'
    expect(await record({ resourceUrl: elsewhere }, confirmed)).toBe('not_confirmed')
    expect(await record({ specDigest: digestOf('other') }, confirmed)).toBe('spec_invalid')
    expect(await record({ spec: Buffer.from('{}') }, confirmed)).toBe('spec_invalid')
    expect(await record({ access: '{"kind":"all"}' }, confirmed)).toBe('spec_invalid')
    expect(await record({}, confirmed)).toBe('done')
  })

  test('a confirmation signs once; repeating it gives the same bytes, changing it is refused', async () => {
    const { confirmationId, statement, request } = await vault.makeServer()
    const again = await vault.statements('generator').signServe({
      confirmationId,
      version: 1,
      moduleDigest,
    })
    expect(again.statement?.bytes).toEqual(statement.bytes)
    const other = { confirmationId, version: 1, moduleDigest: digestOf('other') }
    expect(await reason(vault.statements('generator').signServe(other))).toBe('confirmation_used')
    const changed = { ...request, access: '{"kind":"anyone"}' }
    const record = vault
      .statements('generator')
      .recordConfirmation(changed, await vault.user(owner, confirmedIn(changed)))
    expect(await reason(record)).toBe('confirmation_exists')
    const unknown = { confirmationId: newId('cnf'), version: 1, moduleDigest }
    expect(await reason(vault.statements('generator').signServe(unknown))).toBe(
      'confirmation_not_found',
    )
  })

  test('an older statement opens nothing once a newer one stands, nor does a stop', async () => {
    const { serverId, statement } = await vault.makeServer()
    await vault.put(serverId)
    const second = await vault.makeServer(specBytes, owner, serverId)
    expect(second.epoch).toBe(2n)
    const open = (signed: typeof statement) =>
      reason(vault.secrets('broker').openSecrets({ statement: signed }))
    expect(await open(statement)).toBe('statement_superseded')
    expect(await open(second.statement)).toBe('done')
    const stop = { serverId, reason: StopReason.PAUSED }
    const stopped = await vault.statements('generator').signStop(stop, await vault.user())
    expect(await open(second.statement)).toBe('statement_superseded')
    if (stopped.statement === undefined) throw new Error('no stop')
    expect(await open(stopped.statement)).toBe('statement_invalid')
  })

  test('a forged or altered statement opens nothing', async () => {
    const { serverId, statement } = await vault.makeServer()
    await vault.put(serverId)
    const open = (signed: typeof statement) =>
      reason(vault.secrets('broker').openSecrets({ statement: signed }))
    for (const index of [0, 30, statement.bytes.length - 2]) {
      const bytes = statement.bytes.map((b, i) => (i === index ? b ^ 1 : b))
      expect(await open({ ...statement, bytes })).toBe('statement_invalid')
    }
    expect(await open({ ...statement, signature: randomBytes(64) })).toBe('statement_invalid')
    expect(await open({ ...statement, keyId: 'unknown' })).toBe('statement_invalid')
  })

  test('after a deletion nothing more is signed or stored, and only then the secrets go', async () => {
    const { serverId } = await vault.makeServer()
    await vault.put(serverId)
    const wipe = () => vault.secrets('generator').deleteServerSecrets({ serverId })
    expect(await reason(wipe())).toBe('server_not_deleted')
    const stop = { serverId, reason: StopReason.DELETED }
    const first = await vault.statements('generator').signStop(stop, await vault.user())
    const again = await vault.statements('generator').signStop(stop, await vault.user())
    expect(again.statement?.bytes).toEqual(first.statement?.bytes ?? new Uint8Array())
    expect(await reason(vault.put(serverId))).toBe('server_deleted')
    expect((await wipe()).deleted).toBe(1)
    expect((await wipe()).deleted).toBe(0)
    expect(await reason(vault.makeServer(specBytes, owner, serverId))).toBe('server_deleted')
  })

  test('another organisation cannot confirm or stop a server', async () => {
    const { serverId } = await vault.makeServer()
    const stranger = testUser()
    expect(await reason(vault.makeServer(specBytes, stranger, serverId))).toBe('server_not_found')
    const stop = { serverId, reason: StopReason.DELETED }
    expect(
      await reason(vault.statements('generator').signStop(stop, await vault.user(stranger))),
    ).toBe('server_not_found')
  })

  test('fifty processes that sign at once give out fifty epochs', async () => {
    const { serverId } = await vault.makeServer()
    const made = await Promise.all(
      Array.from({ length: 50 }, () => vault.makeServer(specBytes, owner, serverId)),
    )
    expect(new Set(made.map((one) => one.epoch)).size).toBe(50)
  })
})
