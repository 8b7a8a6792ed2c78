/** The reconciler against a feed that fails, and the keys that verify what it brings. */
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { join } from 'node:path'
import { createStatementKeyring } from '@bmm/lib/statement-keys'
import { type TestDatabase, testDatabase, testLog } from '@bmm/lib/testing'
import { outcomeOf } from '@bmm/lib/testing-outcome'
import type { SignedStatement } from '@bmm/spec/statement'
import {
  serveStatement,
  signedBy,
  stopStatement,
  type TestServer,
  testServer,
  testSigner,
} from '../testing.ts'
import { createDeployments } from './deployments.ts'
import { createReconciler, type Reconciler, type ServingNotice } from './reconciler.ts'

const signer = testSigner()
let database: TestDatabase
const open: Reconciler[] = []

beforeAll(async () => {
  database = await testDatabase('runner', join(import.meta.dir, '../migrations'))
})
afterEach(async () => {
  for (const reconciler of open.splice(0)) await reconciler.stop()
})
afterAll(() => database[Symbol.asyncDispose]())

function setUp() {
  const time = { at: 1_000_000 }
  const notices: ServingNotice[] = []
  const artefacts = new Map<string, TestServer['artefacts']>()
  const asked: bigint[] = []
  const state = { down: false, swept: 0, fetched: 0 }
  const deployments = createDeployments({
    sql: database.sql,
    keyring: createStatementKeyring({ ask: async () => signer.keys, now: Date.now }),
    log: testLog,
    onChange: () => 0,
    forgetRuns: async () => {},
  })
  const reconciler = createReconciler({
    feed: {
      async list(afterSeq) {
        asked.push(afterSeq)
        if (state.down) throw new Error('down')
        return { notices: notices.filter(({ seq }) => seq > afterSeq), more: false }
      },
      async artefacts(serverId) {
        state.fetched++
        const found = artefacts.get(serverId)
        if (found === undefined) throw new Error('not there yet')
        return found
      },
    },
    deployments,
    sweep: async () => void state.swept++,
    now: () => time.at,
    log: testLog,
  })
  open.push(reconciler)
  const tell = (server: TestServer, signed: SignedStatement, epoch: number, seq: bigint) =>
    notices.push({ serverId: server.serverId, signed, epoch, seq })
  return { time, artefacts, asked, state, deployments, reconciler, tell }
}
const serve = (server: TestServer, epoch: number) => signedBy(signer, serveStatement(server, epoch))

test('what it knows already costs nothing', async () => {
  const { reconciler, artefacts, state, tell } = setUp()
  const server = testServer()
  artefacts.set(server.serverId, server.artefacts)
  tell(server, serve(server, 1), 1, 1n)
  await reconciler.round()
  await reconciler.round()
  expect([state.fetched, state.swept, reconciler.caughtUp]).toEqual([1, 2, true])
})

test('a server whose artefacts are missing is tried again, later each time, and holds nobody up', async () => {
  const { reconciler, artefacts, deployments, state, tell, time } = setUp()
  const late = testServer()
  const other = testServer()
  artefacts.set(other.serverId, other.artefacts)
  tell(late, serve(late, 1), 1, 1n)
  tell(other, serve(other, 1), 1, 2n)
  await reconciler.round()
  expect(deployments.find(other.serverId)?.kind).toBe('serving')
  await reconciler.round()
  expect(state.fetched).toBe(2)
  time.at += 3_000
  await reconciler.round()
  expect(state.fetched).toBe(3)
  time.at += 3_000
  await reconciler.round()
  expect(state.fetched).toBe(3)
  artefacts.set(late.serverId, late.artefacts)
  time.at += 3_000
  await reconciler.round()
  expect(deployments.find(late.serverId)?.kind).toBe('serving')
})

test('a newer statement of a failing server is tried at once', async () => {
  const { reconciler, deployments, tell } = setUp()
  const server = testServer()
  tell(server, serve(server, 1), 1, 1n)
  await reconciler.round()
  tell(server, signedBy(signer, stopStatement(server, 2)), 2, 2n)
  await reconciler.round()
  expect(deployments.find(server.serverId)?.kind).toBe('stopped')
})

test('after an outage it reads everything again', async () => {
  const { reconciler, artefacts, asked, state, tell } = setUp()
  const server = testServer()
  artefacts.set(server.serverId, server.artefacts)
  tell(server, serve(server, 1), 1, 5_000n)
  await reconciler.round()
  await reconciler.round()
  state.down = true
  expect(await outcomeOf(reconciler.round())).toThrow('down')
  state.down = false
  await reconciler.round()
  expect(asked).toEqual([0n, 4_900n, 4_900n, 0n])
})
