/** The runner as a whole: what was deployed, what runs, who may call it, and the order in which it all starts. */
import { join } from 'node:path'
import type { Verdict } from '@bmm/lib/call-frames'
import { errorFrom } from '@bmm/lib/errors'
import type { Identity } from '@bmm/lib/identity'
import type { Log } from '@bmm/lib/log'
import type { CollectMetrics } from '@bmm/lib/metrics'
import type { Sql } from '@bmm/lib/sql'
import { askStatementKeys, createStatementKeyring } from '@bmm/lib/statement-keys'
import type { Tracing } from '@bmm/lib/tracing'
import type { ServingService } from '@bmm/proto/generator/v1/generator_service'
import type { StatementService } from '@bmm/proto/secrets/v1/secrets_service'
import type { Client, ConnectRouter } from '@connectrpc/connect'
import { listenForGateways } from './calls/call-leg.ts'
import { createInFlight, type InFlightLimits } from './calls/in-flight.ts'
import type { ServingDeployment } from './deployment/deployment.ts'
import { createDeployments } from './deployment/deployments.ts'
import { createReconciler } from './deployment/reconciler.ts'
import { servingFeed } from './deployment/serving-feed.ts'
import { createTrials, rehearse } from './deployment/trial.ts'
import { type EngineConfig, startEngine } from './fleet/engine.ts'
import { sandboxCounts } from './fleet/sandbox-counts.ts'
import { callStatsReader } from './metering/call-stats.ts'
import { createMeter } from './metering/meter.ts'
import {
  addRollups,
  deleteRollups,
  findOrgMonth,
  purgeRollups,
  sumRollups,
} from './metering/rollup-store.ts'
import { openRollups } from './metering/rollups.ts'
import { failedCallLines } from './run-log/failed-calls.ts'
import { createRunLines } from './run-log/run-lines.ts'
import { createRunLog, type RunLine } from './run-log/run-log.ts'
import { runnerMetrics } from './runner-metrics.ts'
import { runnerRoutes } from './service.ts'
import type { ServiceLeg } from './service-leg.ts'
import { appendRunLines, deleteRunLines, trimRunLines } from './store.ts'

const KEEP_LINES_PER_SERVER = 10_000
const LOAD_RETRY_MS = 1_000
const inFlightLimits: InFlightLimits = { perSandbox: 64, perOrg: 512, perConnection: 4_096 }

export type Runner = {
  routes(router: ConnectRouter): void
  /** What keeps it from its work, as a sentence. */
  fault(): string | undefined
  metrics: CollectMetrics
  /** Loads what was deployed, then takes calls. */
  start(): Promise<void>
  stop(): Promise<void>
}

export function openRunner(options: {
  identity: Identity
  sql: Sql
  log: Log
  sandboxes: EngineConfig
  statements: Pick<Client<typeof StatementService>, 'listStatementKeys'>
  servings: Pick<Client<typeof ServingService>, 'listServings' | 'getArtefact'>
  /** Holds `calls.sock` and `link.sock`. */
  socketDir: string
  now: () => number
  inFlight?: InFlightLimits
  tracing?: Tracing | undefined
}): Runner {
  const { identity, sql, log, now } = options
  let calls: ServiceLeg | undefined
  let rehearsed = false

  const runLog = createRunLog({
    store: {
      append: (lines) => appendRunLines(sql, lines),
      trim: (serverId) => trimRunLines(sql, serverId, KEEP_LINES_PER_SERVER),
    },
    ...{ log, now },
  })
  function write(
    { statement }: ServingDeployment,
    line: Pick<RunLine, 'level' | 'tool' | 'message' | 'requestId'>,
  ) {
    const { serverId, orgId } = statement
    runLog.write({ serverId, orgId, at: new Date(now()), ...line })
  }

  const counts = sandboxCounts()
  const engine = startEngine({
    config: options.sandboxes,
    linkSocket: join(options.socketDir, 'link.sock'),
    ...{ identity, log, now, counts },
    onEvent: (deployment, message) =>
      write(deployment, { level: 'platform', tool: '', message, requestId: '' }),
    onReady() {
      if (!rehearsed) void rehearse(engine.pool, log)
      rehearsed = true
    },
  })
  const deployments = createDeployments({
    sql,
    keyring: createStatementKeyring({ ask: () => askStatementKeys(options.statements), now }),
    log,
    onChange: (deployment) => engine.fleet.keepOnly(deployment),
    async forgetRuns(serverId, orgId) {
      await Promise.all([runLog.flush(), rollups.flush()])
      await deleteRunLines(sql, serverId, orgId)
      await deleteRollups(sql, serverId, orgId)
    },
  })
  const reconciler = createReconciler({
    feed: servingFeed(options.servings),
    sweep: () => engine.launcher.sweep().catch(() => {}),
    ...{ deployments, now, log },
  })
  const meter = createMeter({ now })
  const rollups = openRollups({
    ...{ meter, log },
    store: { add: (flush) => addRollups(sql, flush), purge: () => purgeRollups(sql) },
    isDeleted(serverId) {
      const statement = deployments.find(serverId)?.statement
      return statement?.kind === 'stop' && statement.reason === 'deleted'
    },
  })
  const sayFailed = failedCallLines({ now, write })
  const inFlight = createInFlight(options.inFlight ?? inFlightLimits)
  const runLines = createRunLines({ sql, runLog })

  async function load(): Promise<void> {
    for (;;) {
      try {
        return await deployments.load()
      } catch (error) {
        log.warn({ err: errorFrom(error) }, 'the deployments cannot be loaded yet')
        await Bun.sleep(LOAD_RETRY_MS)
      }
    }
  }

  return {
    routes: runnerRoutes({
      ...{ deployments, runLines, tryVersion: createTrials(engine.pool) },
      readStats: callStatsReader(async (span) => {
        await rollups.flush()
        return sumRollups(sql, span)
      }),
      async readMonth(orgId, month) {
        await rollups.flush()
        return findOrgMonth(sql, orgId, month)
      },
    }),
    metrics: runnerMetrics({ meter, engine, inFlight, counts, deployments }),
    fault: () => (calls === undefined ? 'The deployments are being loaded.' : engine.fault()),
    async start() {
      await load()
      calls = listenForGateways({
        socket: join(options.socketDir, 'calls.sock'),
        ...{ identity, log, inFlight, now, fleet: engine.fleet },
        ...(options.tracing === undefined ? {} : { tracing: options.tracing }),
        find: (serverId) => deployments.find(serverId),
        onBehind: () => reconciler.poke(),
        onLine: (deployment, line) => write(deployment, { level: 'info', ...line }),
        onEnded(deployment, { tool, requestId }, ended, failure) {
          meter.count(deployment, tool, ended)
          if (failure === undefined) return
          const message = `The call failed (${failure.code}): ${failure.message}`
          sayFailed(deployment, { tool, requestId, message })
        },
        onVerdict(deployment, { tool, requestId, verdict }) {
          meter.judge(deployment, tool, verdict)
          sayFailed(deployment, { tool, requestId, message: verdictSentence(verdict) })
        },
      })
      reconciler.start()
      log.info({ deployments: deployments.size }, 'taking calls')
    },
    async stop() {
      await reconciler.stop()
      await engine.stop()
      calls?.stop('the runner is stopping')
      // Side by side: where Postgres is away, both wait for it as long as they may.
      await Promise.all([rollups[Symbol.asyncDispose](), runLog[Symbol.asyncDispose]()])
    },
  }
}

function verdictSentence(verdict: Verdict['verdict']): string {
  switch (verdict) {
    case 'tool_error':
      return 'The tool answered with an error.'
    case 'result_invalid':
      return 'The call failed (result_invalid): the tool answered something that is no result.'
    case 'refused':
      return 'The call was refused: too many calls of its caller are under way.'
    default:
      return verdict satisfies never
  }
}
