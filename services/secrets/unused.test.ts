/** What was confirmed and came to nothing goes; what anything was signed or stored for stays. */
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { newId } from '@bmm/lib/ids'
import { testUser } from '@bmm/lib/testing'
import { reason } from '@bmm/lib/testing-outcome'
import { StopReason } from '@bmm/proto/secrets/v1/secrets_service'
import {
  confirmedIn,
  moduleDigest,
  openTestVault,
  owner,
  specBytes,
  specDigest,
  type TestVault,
} from './testing.ts'
import { forgetUnused } from './unused.ts'

const DAY_MS = 86_400_000

let vault: TestVault

beforeEach(async () => {
  vault = await openTestVault()
})
afterEach(() => vault[Symbol.asyncDispose]())

const inDays = (days: number) => forgetUnused(vault.database.sql, Date.now() + days * DAY_MS)
const sign = (confirmationId: string) =>
  reason(vault.statements('generator').signServe({ confirmationId, version: 1, moduleDigest }))

/** As the generator does it before it writes anything down itself. */
async function confirm(serverId = newId('srv'), of = owner) {
  const request = {
    confirmationId: newId('cnf'),
    ...{ serverId, spec: specBytes, specDigest },
    resourceUrl: 'http://localhost:8787/s/example/mcp',
    access: '{"kind":"org"}',
  }
  const as = await vault.user(of, confirmedIn(request))
  return {
    ...request,
    done: await reason(vault.statements('generator').recordConfirmation(request, as)),
  }
}

async function rows() {
  const { sql } = vault.database
  const [row] = await sql`
    select (select count(*)::int from servers) as servers,
      (select count(*)::int from confirmations) as confirmations`
  return row
}

test('a confirmation that nothing came of is forgotten after a week, and signs nothing then', async () => {
  const { confirmationId } = await confirm()
  expect(await inDays(6)).toBe(0)
  expect(await inDays(8)).toBe(1)
  expect(await rows()).toEqual({ servers: 0, confirmations: 0 })
  expect(await sign(confirmationId)).toBe('confirmation_not_found')
})

test('one that was signed stays, and so does a later one of the same server', async () => {
  const { serverId } = await vault.makeServer()
  const { confirmationId } = await confirm(serverId)
  expect(await inDays(8)).toBe(0)
  expect(await rows()).toEqual({ servers: 1, confirmations: 2 })
  expect(await sign(confirmationId)).toBe('done')
})

test('a server with a stored value stays', async () => {
  const { serverId } = await confirm()
  await vault.put(serverId)
  expect(await inDays(8)).toBe(0)
  expect(
    (await vault.secrets('gateway').listSecrets({ serverId }, await vault.user())).secrets,
  ).toHaveLength(1)
})

test('a server that was forgotten is deleted for ever all the same', async () => {
  const { serverId } = await confirm()
  await inDays(8)
  const stop = (why: StopReason, of = owner) =>
    vault
      .user(of)
      .then((as) => reason(vault.statements('generator').signStop({ serverId, reason: why }, as)))
  expect(await stop(StopReason.PAUSED)).toBe('server_not_found')
  expect(await stop(StopReason.DELETED)).toBe('done')
  expect(await stop(StopReason.DELETED, testUser())).toBe('server_not_found')
  const again = await confirm(serverId)
  expect(again.done).toBe('done')
  expect(await sign(again.confirmationId)).toBe('server_deleted')
  expect(await inDays(30)).toBe(0)
})
