/** Deployments that rest: their code waits in Postgres, and what comes back from there is verified like a fresh one. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { join } from 'node:path'
import { createStatementKeyring } from '@bmm/lib/statement-keys'
import { type TestDatabase, testDatabase, testLog } from '@bmm/lib/testing'
import { outcomeOf } from '@bmm/lib/testing-outcome'
import { serveStatement, signedBy, stopStatement, testServer, testSigner } from '../testing.ts'
import { createDeployments, type Deployments } from './deployments.ts'

const signer = testSigner()
const migrations = join(import.meta.dir, '../migrations')
let database: TestDatabase

beforeAll(async () => {
  database = await testDatabase('runner', migrations)
})
afterAll(() => database[Symbol.asyncDispose]())

/** Keeps nothing in memory of what sandboxes are loaded with, unless told otherwise. */
function open(artefactBytes = 0, { sql } = database): Deployments {
  return createDeployments({
    ...{ sql, artefactBytes, log: testLog, onChange: () => 0, forgetRuns: async () => {} },
    keyring: createStatementKeyring({ ask: async () => signer.keys, now: Date.now }),
  })
}

function serving(deployments: Deployments, serverId: string) {
  const found = deployments.find(serverId)
  if (found?.kind !== 'serving') throw new Error(`${serverId} is not served`)
  return found
}

test('a server that rests is read from Postgres when it is woken, by this process and by the next', async () => {
  const server = testServer()
  const deployments = open()
  await deployments.deploy(signedBy(signer, serveStatement(server, 1)), server.artefacts)
  const next = open()
  await next.load()
  for (const each of [deployments, next]) {
    const { module, tools } = await serving(each, server.serverId).artefact()
    expect(Buffer.from(module)).toEqual(Buffer.from(server.artefacts.module))
    expect(JSON.parse(Buffer.from(tools).toString())).toMatchObject([{ name: 'echo' }])
  }
})

test('a row that somebody changed while its server slept is not loaded', async () => {
  const server = testServer()
  const deployments = open()
  await deployments.deploy(signedBy(signer, serveStatement(server, 1)), server.artefacts)
  await database.sql`
    update deployments set module = ${Buffer.from('export default {}')}
    where server_id = ${server.serverId}`
  expect(await outcomeOf(serving(deployments, server.serverId).artefact())).toThrow(
    'The module is not the one that the statement names.',
  )
})

test('one that was replaced or stopped meanwhile says so, and is not loaded', async () => {
  const server = testServer()
  const deployments = open(1024 * 1024)
  await deployments.deploy(signedBy(signer, serveStatement(server, 1)), server.artefacts)
  const first = serving(deployments, server.serverId)
  await deployments.deploy(signedBy(signer, serveStatement(server, 2)), server.artefacts)
  expect(await outcomeOf(first.artefact())).toThrow('A newer version of the server took over.')
  const second = serving(deployments, server.serverId)
  expect((await second.artefact()).module.length).toBeGreaterThan(0)
  await deployments.stop(signedBy(signer, stopStatement(server, 3)))
  expect(await outcomeOf(second.artefact())).toThrow('A newer version of the server took over.')
})

test('without Postgres one that is in memory is loaded, and one that is not says what to do', async () => {
  const away = await testDatabase('runner', migrations)
  const [kept, resting] = [testServer(), testServer()]
  const [remembering, forgetting] = [open(1024 * 1024, away), open(0, away)]
  await remembering.deploy(signedBy(signer, serveStatement(kept, 1)), kept.artefacts)
  await forgetting.deploy(signedBy(signer, serveStatement(resting, 1)), resting.artefacts)
  await away[Symbol.asyncDispose]()
  expect((await serving(remembering, kept.serverId).artefact()).module.length).toBeGreaterThan(0)
  const outcome = await outcomeOf(serving(forgetting, resting.serverId).artefact())
  expect(outcome).toThrow('The server sleeps and could not be read from the database.')
})
