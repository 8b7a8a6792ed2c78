/** The generator's process: wiring only. */
import { join } from 'node:path'
import { rpcClient } from '@bmm/lib/client'
import { configOrExit } from '@bmm/lib/env'
import { openIdentity } from '@bmm/lib/identity'
import { openQueue, openWorker } from '@bmm/lib/jobs'
import { createLog } from '@bmm/lib/log'
import { forbidInspection, untilStopped } from '@bmm/lib/process'
import { serveRpc } from '@bmm/lib/server'
import { migrate, openSql, ping, readMigrations } from '@bmm/lib/sql'
import { TargetService } from '@bmm/proto/broker/v1/broker_service'
import { BUILD_QUEUE, BUILDS_AT_ONCE, buildQueue } from './build/build-queue.ts'
import { buildWatch } from './build/build-watch.ts'
import { buildWorker, PATIENCE_MS } from './build/build-worker.ts'
import { configFrom } from './config.ts'
import { openDownstream, statementCheck } from './downstream.ts'
import { documentSource, policySource } from './draft/document-source.ts'
import { drafting } from './draft/drafting.ts'
import { generatorMetrics } from './generator-metrics.ts'
import { openHints } from './hints.ts'
import { stopping } from './server/stopping.ts'
import { generatorRoutes } from './service.ts'
import { openSpareChildren } from './spare-children.ts'
import { startSweeping } from './sweep.ts'

forbidInspection()
const { rpcDir, publicUrl, redisUrl, ownListeners, programs, ...config } = configOrExit(configFrom)
const log = createLog('generator', config.logLevel)
const identity = await openIdentity({ name: 'generator', ...config })
await using closing = new AsyncDisposableStack()
const sql = openSql(config.databaseUrl, { schema: 'generator' })
closing.defer(() => sql.end({ timeout: 5 }))
await migrate(sql, 'generator', readMigrations(join(import.meta.dir, 'migrations')))
const downstream = openDownstream({ identity, rpcDir })
const targets = rpcClient(TargetService, { identity, rpcDir, to: 'broker' })
const policyOf = policySource(targets, ownListeners)
const hints = closing.use(openHints(redisUrl, log))
const check = statementCheck(downstream.statements)
const parts = { sql, hints, log, now: () => new Date(), downstream, check, publicUrl }
const children = closing.use(openSpareChildren(programs))
const worker = buildWorker({ ...parts, ...children, patienceMs: PATIENCE_MS })
const queue = openQueue(BUILD_QUEUE, redisUrl, log)
const builds = closing.use(buildQueue(queue, { ...worker, log }))
const shared = { ...parts, ...children, builds }
const stops = stopping(shared)
const draft = drafting({ ...shared, policyOf, fetchDocument: documentSource(policyOf) })
const ending = new AbortController()
const watch = buildWatch({ ...shared, ending: ending.signal })
const metrics = generatorMetrics({ sql, ...worker })
const fault = () => ping(sql).then(() => undefined)
const routes = generatorRoutes({ ...shared, ...downstream, stopping: stops, draft, watch })
const socket = join(rpcDir, 'generator', 'rpc.sock')
closing.use(serveRpc({ identity, socket, routes, log, fault, metrics }))
closing.use(openWorker(BUILD_QUEUE, redisUrl, log, BUILDS_AT_ONCE, worker.work))
closing.use(startSweeping({ ...shared, stopping: stops }))
closing.defer(worker.stop)
closing.defer(() => ending.abort())
await untilStopped(log)
