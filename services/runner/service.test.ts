/** The runner's RPCs through the generated client on Postgres: what may be deployed, by whom, and who reads its log. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { asUser, watch } from '@bmm/lib/client'
import { newId } from '@bmm/lib/ids'
import { createStatementKeyring } from '@bmm/lib/statement-keys'
import {
  type TestDatabase,
  type TestIdentities,
  type TestRpc,
  testDatabase,
  testIdentities,
  testLog,
  testRpc,
} from '@bmm/lib/testing'
import { reason } from '@bmm/lib/testing-outcome'
import { DeploymentService, LogService } from '@bmm/proto/runner/v1/runner_service'
import type { SignedStatement } from '@bmm/spec/statement'
import type { Deployment } from './deployment/deployment.ts'
import { createDeployments, type Deployments } from './deployment/deployments.ts'
import { callStatsReader } from './metering/call-stats.ts'
import { sumRollups } from './metering/rollup-store.ts'
import { createRunLines } from './run-log/run-lines.ts'
import { createRunLog, type RunLog } from './run-log/run-log.ts'
import { runnerRoutes } from './service.ts'
import { appendRunLines, deleteRunLines, listDeployments, trimRunLines } from './store.ts'
import {
  serveStatement,
  signedBy,
  stopStatement,
  type TestServer,
  testServer,
  testSigner,
} from './testing.ts'

const KEEP_LINES = 5
let database: TestDatabase
let identities: TestIdentities
let rpc: TestRpc
let runLog: RunLog
let deployments: Deployments
let changes: Deployment[] = []
let server: TestServer
const signer = testSigner()

function openDeployments(): Deployments {
  return createDeployments({
    sql: database.sql,
    keyring: createStatementKeyring({ ask: async () => signer.keys, now: Date.now }),
    log: testLog,
    onChange: (deployment) => changes.push(deployment),
    forgetRuns: (serverId, orgId) => deleteRunLines(database.sql, serverId, orgId),
  })
}

beforeAll(async () => {
  database = await testDatabase('runner', join(import.meta.dir, 'migrations'))
  identities = await testIdentities()
  rpc = testRpc(identities)
  runLog = createRunLog({
    store: {
      append: (lines) => appendRunLines(database.sql, lines),
      trim: (serverId) => trimRunLines(database.sql, serverId, KEEP_LINES),
    },
    log: testLog,
    now: Date.now,
  })
  deployments = openDeployments()
  const runLines = createRunLines({ sql: database.sql, runLog })
  const tryVersion = async () => ({ message: 'not here', elapsedMs: 0 })
  const readStats = callStatsReader((span) => sumRollups(database.sql, span))
  const readMonth = async () => undefined
  rpc.serve('runner', runnerRoutes({ deployments, runLines, tryVersion, readStats, readMonth }))
})
afterAll(async () => {
  await rpc[Symbol.asyncDispose]()
  await runLog[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})
beforeEach(() => {
  changes = []
  server = testServer()
})

const client = () => rpc.client(DeploymentService, 'runner', 'generator')
const deploy = (statement: SignedStatement, artefacts = server.artefacts) =>
  client().deploy({ statement, ...artefacts })
const serve = (epoch: number, of = server) => signedBy(signer, serveStatement(of, epoch))
const stop = (epoch: number, reason?: 'paused' | 'deleted') =>
  client().stop({ statement: signedBy(signer, stopStatement(server, epoch, reason)) })

describe('deploying', () => {
  test('a signed version with its artefacts is served and survives a restart', async () => {
    await deploy(serve(1))
    expect(deployments.find(server.serverId)?.statement.epoch).toBe(1)
    const restarted = openDeployments()
    await restarted.load()
    const found = restarted.find(server.serverId)
    expect(found?.kind === 'serving' && found.tools).toEqual(['echo'])
  })

  test('repeating it is harmless', async () => {
    await deploy(serve(1))
    await deploy(serve(1))
    expect(changes.length).toBe(1)
  })

  test('a newer epoch replaces, an older or a different one of the same epoch is refused', async () => {
    await deploy(serve(1))
    await deploy(serve(3))
    expect(await reason(deploy(serve(2)))).toBe('stale_epoch')
    const other = signedBy(signer, serveStatement(server, 3, { version: 9 }))
    expect(await reason(deploy(other))).toBe('stale_epoch')
    expect(deployments.find(server.serverId)?.statement.epoch).toBe(3)
  })

  test('a statement signed by another key, or changed by a bit, is refused', async () => {
    const forged = signedBy(testSigner(signer.keyId), serveStatement(server, 1))
    expect(await reason(deploy(forged))).toBe('statement_invalid')
    const unknown = signedBy(testSigner('stk_other'), serveStatement(server, 1))
    expect(await reason(deploy(unknown))).toBe('statement_invalid')
    const flipped = serve(1)
    const bytes = flipped.bytes.slice()
    bytes[20] = (bytes[20] ?? 0) ^ 1
    expect(await reason(deploy({ ...flipped, bytes }))).toBe('statement_invalid')
    expect(deployments.find(server.serverId)).toBeUndefined()
  })

  test('a statement that moves the server to another organisation is refused', async () => {
    await deploy(serve(1))
    const moved = signedBy(signer, serveStatement(server, 2, { orgId: newId('org') }))
    expect(await reason(deploy(moved))).toBe('statement_invalid')
  })

  test('artefacts that the digests do not name are refused', async () => {
    const { spec, module } = testServer({ other: 'async () => 1' }).artefacts
    const swappedSpec = deploy(serve(1), { ...server.artefacts, spec })
    expect(await reason(swappedSpec)).toBe('digest_mismatch')
    const swappedModule = deploy(serve(1), { ...server.artefacts, module })
    expect(await reason(swappedModule)).toBe('digest_mismatch')
  })

  test('a signed spec that is no spec is refused', async () => {
    const bad = { ...server, artefacts: { ...server.artefacts, spec: new Uint8Array([123, 125]) } }
    expect(await reason(deploy(serve(1, bad), bad.artefacts))).toBe('spec_invalid')
  })

  test('only the generator may deploy, stop and try', async () => {
    for (const caller of ['gateway', 'broker', 'auth', 'secrets', 'operator', 'keeper'] as const) {
      const other = rpc.client(DeploymentService, 'runner', caller)
      const statement = serve(1)
      const refusals = await Promise.all([
        reason(other.deploy({ statement, ...server.artefacts })),
        reason(other.stop({ statement })),
        reason(other.tryVersion(server.artefacts)),
      ])
      expect(new Set(refusals)).toEqual(new Set(['caller_not_allowed']))
    }
  })
})

describe('stopping', () => {
  test('a stop outlives a restart, and nothing older comes back', async () => {
    await deploy(serve(1))
    await stop(2)
    expect(changes.map((change) => change.kind)).toEqual(['serving', 'stopped'])
    expect(await reason(deploy(serve(1)))).toBe('stale_epoch')
    const restarted = openDeployments()
    await restarted.load()
    expect(restarted.find(server.serverId)?.kind).toBe('stopped')
    await deploy(serve(3))
    expect(deployments.find(server.serverId)?.kind).toBe('serving')
  })

  test('a stop can be repeated and an older one is refused', async () => {
    await deploy(serve(5))
    expect(await reason(stop(4))).toBe('stale_epoch')
    await stop(6)
    await stop(6)
    expect(deployments.find(server.serverId)?.kind).toBe('stopped')
  })

  test('stop and serve statements cannot stand for each other', async () => {
    const wrong = client().stop({ statement: serve(1) })
    expect(await reason(wrong)).toBe('statement_invalid')
    const stopping = signedBy(signer, stopStatement(server, 1))
    expect(await reason(deploy(stopping))).toBe('statement_invalid')
  })

  test('the artefacts of a stopped server are forgotten', async () => {
    await deploy(serve(1))
    await stop(2)
    const rows = await listDeployments(database.sql, '', 1_000)
    expect(rows.find((row) => row.serverId === server.serverId)?.artefacts).toBeUndefined()
  })
})

describe('rows that someone changed', () => {
  test('are not served after a restart and make way for a sound statement', async () => {
    const second = testServer()
    await deploy(serve(1))
    await client().deploy({ statement: serve(1, second), ...second.artefacts })
    await database.sql`
      update deployments set module = 'export const tools = {}' where server_id = ${server.serverId}`
    await database.sql`
      update deployments set epoch = 99 where server_id = ${second.serverId}`
    const restarted = openDeployments()
    await restarted.load()
    expect(restarted.find(server.serverId)).toBeUndefined()
    expect(restarted.find(second.serverId)).toBeUndefined()
    await restarted.deploy(serve(1), server.artefacts)
    expect(restarted.find(server.serverId)?.kind).toBe('serving')
  })
})

describe('the run log', () => {
  const line = (message: string) => ({
    serverId: server.serverId,
    orgId: server.orgId,
    at: new Date(),
    level: 'info',
    tool: 'echo',
    message,
    requestId: 'req-1',
  })
  const logs = () => rpc.client(LogService, 'runner', 'gateway')
  const asMember = async (orgId = server.orgId, role = 'viewer') =>
    asUser(await identities.mintUser({ orgId, role }))

  test('lists the newest lines, then those after a cursor', async () => {
    await deploy(serve(1))
    for (const message of ['one', 'two', 'three']) runLog.write(line(message))
    await runLog.flush()
    const { serverId } = server
    const newest = await logs().listLogs({ serverId, limit: 2 }, await asMember())
    expect(newest.lines.map(({ message }) => message)).toEqual(['two', 'three'])
    const afterSeq = newest.lines[0]?.seq ?? 0n
    const after = await logs().listLogs({ serverId, afterSeq }, await asMember())
    expect(after.lines.map(({ message, tool, level }) => [message, tool, level])).toEqual([
      ['three', 'echo', 'info'],
    ])
  })

  test('follows lines as they come', async () => {
    await deploy(serve(1))
    runLog.write(line('before'))
    await runLog.flush()
    const seen: string[] = []
    const member = await asMember()
    for await (const { line: next } of watch(logs().watchLogs, server, member)) {
      seen.push(next?.message ?? '')
      if (seen.length === 1) runLog.write(line('while following'))
      if (seen.length === 2) break
    }
    expect(seen).toEqual(['before', 'while following'])
  })

  test('says that it is followed, to who asks for it, before there is a line', async () => {
    await deploy(serve(1))
    const asked = { ...server, afterSeq: 1_000_000n, announce: true }
    const watching = watch(logs().watchLogs, asked, await asMember())
    const first = await watching.next()
    await watching.return(undefined)
    expect([first.done, first.value?.line]).toEqual([false, undefined])
  })

  test('is followed by twenty of an organisation at a time, and by another beside them', async () => {
    await deploy(serve(1))
    const runLines = createRunLines({ sql: database.sql, runLog })
    runLog.write(line('one'))
    await runLog.flush()
    const gone = new AbortController()
    const place = { serverId: server.serverId, orgId: server.orgId }
    const follow = async (orgId = place.orgId) => {
      const lines = runLines.follow({ ...place, orgId }, 0n, gone.signal)
      expect((await lines.next()).value).toBe('following')
      return { lines, first: await lines.next() }
    }
    const [first] = await Promise.all(Array.from({ length: 20 }, () => follow()))
    expect(await reason(follow())).toBe('too_many_followers')
    const stranger = runLines.follow({ ...place, orgId: newId('org') }, 0n, gone.signal)
    expect((await stranger.next()).value).toBe('following')
    const empty = stranger.next()
    await first?.lines.return(undefined)
    expect((await follow()).first.value?.message).toBe('one')
    gone.abort()
    expect((await empty).done).toBe(true)
  })

  test('keeps the newest lines of a server only', async () => {
    await deploy(serve(1))
    for (let n = 1; n <= 8; n++) runLog.write(line(`line ${n}`))
    await runLog.flush()
    const { lines } = await logs().listLogs(server, await asMember())
    expect(lines.map(({ message }) => message)).toEqual([4, 5, 6, 7, 8].map((n) => `line ${n}`))
  })

  test('cuts long lines, replaces NUL and says how many lines it dropped', async () => {
    await deploy(serve(1))
    runLog.write(line(`\u0000${'é'.repeat(10_000)}`))
    for (let n = 0; n < 600; n++) runLog.write(line('flood'))
    await runLog.flush()
    const stored = await database.sql<{ message: string }[]>`
      select message from run_lines where server_id = ${server.serverId} order by seq`
    const messages = stored.map((row) => row.message)
    expect(messages.some((message) => message.startsWith('101 log lines were dropped'))).toBe(true)
    expect(messages.every((message) => Buffer.byteLength(message) <= 8 * 1024)).toBe(true)
  })

  test('of many servers of one organisation leaves room for the lines of another', async () => {
    await deploy(serve(1))
    const hoarder = newId('org')
    for (let at = 0; at < 20; at++) {
      const serverId = newId('srv')
      for (let n = 0; n < 500; n++) {
        runLog.write({ ...line('flood'), serverId, orgId: hoarder })
      }
    }
    runLog.write(line('modest'))
    await runLog.flush()
    const [stored] = await database.sql<{ hoarders: number; modest: number }[]>`
      select count(distinct server_id) filter (where org_id = ${hoarder} and message = 'flood')::int as hoarders,
        count(*) filter (where server_id = ${server.serverId} and message = 'modest')::int as modest
      from run_lines`
    expect(stored).toEqual({ hoarders: 5, modest: 1 })
  })

  test('is closed to other organisations, roles without permission and other services', async () => {
    await deploy(serve(1))
    const { serverId } = server
    expect(await reason(logs().listLogs({ serverId }, await asMember(newId('org'))))).toBe(
      'server_not_found',
    )
    expect(await reason(logs().listLogs({ serverId }, await asMember(undefined, 'billing')))).toBe(
      'permission_missing',
    )
    expect(await reason(logs().listLogs({ serverId }))).toBe('user_required')
    const foreign = await asMember(newId('org'))
    const followed = watch(logs().watchLogs, { serverId }, foreign).next()
    expect(await reason(followed)).toBe('server_not_found')
    const broker = rpc.client(LogService, 'runner', 'broker')
    expect(await reason(broker.listLogs({ serverId }, await asMember()))).toBe('caller_not_allowed')
  })

  test('goes with its deleted server', async () => {
    await deploy(serve(1))
    runLog.write(line('soon gone'))
    await runLog.flush()
    await stop(2, 'deleted')
    const { lines } = await logs().listLogs({ serverId: server.serverId }, await asMember())
    expect(lines).toEqual([])
  })
})
