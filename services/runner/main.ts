/** The runner's main process: wiring only. */
import { join } from 'node:path'
import { rpcClient } from '@bmm/lib/client'
import { configOrExit } from '@bmm/lib/env'
import { openIdentity } from '@bmm/lib/identity'
import { createLog } from '@bmm/lib/log'
import { forbidInspection, untilStopped } from '@bmm/lib/process'
import { serveRpc } from '@bmm/lib/server'
import { migrate, openSql, readMigrations } from '@bmm/lib/sql'
import { openTracing } from '@bmm/lib/tracing'
import { ServingService } from '@bmm/proto/generator/v1/generator_service'
import { StatementService } from '@bmm/proto/secrets/v1/secrets_service'
import { configFrom } from './config.ts'
import { openRunner } from './runner.ts'

forbidInspection()
const config = configOrExit(configFrom)
const log = createLog('runner', config.logLevel)
const { privateKeyPem, publicKeys, rpcDir } = config
const identity = await openIdentity({ name: 'runner', privateKeyPem, publicKeys })
const tracing = await openTracing({ service: 'runner', config: config.tracing, log })
const sql = openSql(config.databaseUrl, { schema: 'runner' })
await migrate(sql, 'runner', readMigrations(join(import.meta.dir, 'migrations')))

const runner = openRunner({
  ...{ identity, sql, log, sandboxes: config.sandboxes },
  statements: rpcClient(StatementService, { identity, rpcDir, to: 'secrets' }),
  servings: rpcClient(ServingService, { identity, rpcDir, to: 'generator' }),
  socketDir: join(rpcDir, 'runner'),
  ...{ now: Date.now, tracing },
})
const server = serveRpc({
  ...{ identity, log, routes: runner.routes },
  socket: join(rpcDir, 'runner', 'rpc.sock'),
  fault: async () => runner.fault(),
  metrics: runner.metrics,
})
await runner.start()

await untilStopped(log)
await runner.stop()
await server[Symbol.asyncDispose]()
await tracing?.[Symbol.asyncDispose]()
await sql.end({ timeout: 5 })
