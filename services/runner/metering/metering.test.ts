/** Metering with real sandboxes: what is counted of calls that end in each way, and what the run log says of them. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Verdict } from '@bmm/lib/call-frames'
import { asUser } from '@bmm/lib/client'
import { FRAME } from '@bmm/lib/frames'
import { until } from '@bmm/lib/testing-until'
import { DeploymentService } from '@bmm/proto/runner/v1/runner_service'
import { type CallCounts, StatsInterval, StatsService } from '@bmm/proto/runner/v1/stats_service'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { listNewestRunLines } from '../store.ts'
import { signedBy, stopStatement } from '../testing.ts'
import { type DeployedServer, openWorld, signer, type World } from '../testing-world.ts'

const START_MS = 120_000
const DAY_MS = 24 * 60 * 60 * 1_000
let world: World

beforeAll(async () => {
  world = await openWorld('bwrap', {}, { perSandbox: 2, perOrg: 8, perConnection: 16 })
}, START_MS)
afterAll(() => world[Symbol.asyncDispose](), START_MS)

const tools = {
  echo: 'async (input) => input.text',
  wait: 'async (input, ctx) => { await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve)); return 1 }',
  crash: 'async () => { process.exit(1) }',
}

function begin(server: DeployedServer, tool: string, input: unknown = {}, timeoutMs = 20_000) {
  const { serverId, orgId, epoch, userId } = server
  return world.gateway.call({ serverId, orgId, epoch, userId, tool, input, timeoutMs })
}

async function countsOf(server: DeployedServer): Promise<Map<string, CallCounts | undefined>> {
  const member = asUser(await world.identities.mintUser({ orgId: server.orgId, role: 'viewer' }))
  const { tools } = await world.rpc.client(StatsService, 'runner', 'gateway').getCallStats(
    {
      ...{ serverId: server.serverId, interval: StatsInterval.HOUR },
      from: timestampFromMs(Date.now() - DAY_MS),
      to: timestampFromMs(Date.now() + 1),
    },
    member,
  )
  return new Map(tools.map(({ tool, counts }) => [tool, counts]))
}

function judge(server: DeployedServer, tool: string, verdict: Verdict['verdict']): void {
  const { serverId } = server
  world.gateway.connection.sendControl(FRAME.VERDICT, 0, {
    serverId,
    tool,
    requestId: 'r',
    verdict,
  })
}

describe('what is counted', () => {
  test('is each call once, by how it ended, with its bytes', async () => {
    const server = await world.deploy(tools)
    for (let n = 0; n < 3; n++) await begin(server, 'echo', { text: 'x'.repeat(1_000) }).outcome
    judge(server, 'echo', 'tool_error')
    const first = begin(server, 'wait')
    const late = begin(server, 'wait', {}, 300)
    expect((await begin(server, 'wait').outcome).code).toBe('busy')
    expect((await late.outcome).code).toBe('deadline')
    world.gateway.cancel(first.id)
    expect((await first.outcome).code).toBe('cancelled')
    expect((await begin(server, 'crash').outcome).code).toBe('sandbox_failed')
    const counts = await countsOf(server)
    expect(counts.get('echo')).toMatchObject({ calls: 3n, toolErrors: 1n, failed: 0n })
    expect(Number(counts.get('echo')?.bytesIn)).toBeWithin(3_000, 3_100)
    expect(Number(counts.get('echo')?.bytesOut)).toBeWithin(3_000, 3_300)
    expect(counts.get('wait')).toMatchObject({ calls: 3n, refused: 1n, overdue: 1n, cancelled: 1n })
    expect(counts.get('wait')?.p99Ms).toBeGreaterThan(200)
    expect(counts.get('crash')).toMatchObject({ calls: 1n, failed: 1n })
  })

  test('is nothing for a server that is not there, or an epoch that is not its own', async () => {
    const server = await world.deploy(tools)
    await begin({ ...server, epoch: 2 }, 'echo').outcome
    judge({ ...server, serverId: 'srv_nobody' }, 'echo', 'refused')
    expect((await countsOf(server)).size).toBe(0)
  })

  test('is gone with a deleted server', async () => {
    const server = await world.deploy(tools)
    await begin(server, 'echo', { text: 'x' }).outcome
    expect((await countsOf(server)).get('echo')?.calls).toBe(1n)
    const statement = signedBy(signer, stopStatement(server, 2, 'deleted'))
    await world.rpc.client(DeploymentService, 'runner', 'generator').stop({ statement })
    expect((await countsOf(server)).size).toBe(0)
  })

  test('is stored by a runner that stops', async () => {
    const server = await world.deploy(tools)
    for (let n = 0; n < 4; n++) await begin(server, 'echo', { text: 'x' }).outcome
    await world.runner.stop()
    world.broker.stop()
    await world.reopen()
    expect((await countsOf(server)).get('echo')?.calls).toBe(4n)
  })
})

describe('the run log', () => {
  const linesOf = ({ serverId, orgId }: DeployedServer) =>
    listNewestRunLines(world.database.sql, { serverId, orgId, limit: 1_000 })

  test('says of each failed call how it failed, and nothing of its input', async () => {
    const server = await world.deploy(tools)
    await begin(server, 'echo', { text: 'fine' }).outcome
    const late = begin(server, 'wait', { text: 'canary-7f2e' }, 200)
    await late.outcome
    judge(server, 'echo', 'tool_error')
    await until(async () => (await linesOf(server)).some(({ tool }) => tool === 'echo'), 'a line')
    const lines = (await linesOf(server)).filter(({ tool }) => tool !== '')
    expect(lines.map(({ level, tool, message }) => [level, tool, message])).toEqual([
      ['platform', 'wait', expect.stringMatching(/^The call failed \(deadline\): .*\.$/)],
      ['platform', 'echo', 'The tool answered with an error.'],
    ])
    expect(JSON.stringify(lines, (_, value) => String(value))).not.toContain('canary')
    expect(lines[0]?.requestId).toBe(`req-${late.id}`)
  })

  test('has at most sixty such lines a minute of one server', async () => {
    const server = await world.deploy(tools)
    for (let n = 0; n < 100; n++) judge(server, 'echo', 'tool_error')
    await begin(server, 'echo', { text: 'x' }).outcome
    const failed = async () => (await linesOf(server)).filter(({ tool }) => tool === 'echo').length
    await until(async () => (await failed()) >= 60, 'the lines')
    expect((await countsOf(server)).get('echo')?.toolErrors).toBe(100n)
    expect(await failed()).toBe(60)
  })
})
