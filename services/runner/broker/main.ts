/** The broker's process: wiring only. */
import { join } from 'node:path'
import { rpcClient } from '@bmm/lib/client'
import { configOrExit } from '@bmm/lib/env'
import { openIdentity } from '@bmm/lib/identity'
import { createLog } from '@bmm/lib/log'
import { forbidInspection, untilStopped } from '@bmm/lib/process'
import { serveRpc } from '@bmm/lib/server'
import { migrate, openSql, ping, readMigrations } from '@bmm/lib/sql'
import { openTracing } from '@bmm/lib/tracing'
import { SecretsService, StatementService } from '@bmm/proto/secrets/v1/secrets_service'
import { openBroker } from './broker.ts'
import { configFrom } from './config.ts'

forbidInspection()
const config = configOrExit(configFrom)
const log = createLog('broker', config.logLevel)
const { privateKeyPem, publicKeys, rpcDir, slotsDir, slots, ownListeners } = config
const identity = await openIdentity({ name: 'broker', privateKeyPem, publicKeys })
const tracing = await openTracing({ service: 'broker', config: config.tracing, log })
const sql = openSql(config.databaseUrl, { schema: 'broker' })
await migrate(sql, 'broker', readMigrations(join(import.meta.dir, 'migrations')))

const broker = await openBroker({
  ...{ identity, sql, log, now: Date.now, tracing, slotsDir, slots, ownListeners },
  linkSocket: join(rpcDir, 'runner', 'link.sock'),
  secrets: rpcClient(SecretsService, { identity, rpcDir, to: 'secrets' }),
  statements: rpcClient(StatementService, { identity, rpcDir, to: 'secrets' }),
})
const server = serveRpc({
  ...{ identity, log, routes: broker.routes },
  socket: join(rpcDir, 'broker', 'rpc.sock'),
  fault: async () => {
    await ping(sql)
    return broker.fault()
  },
  metrics: broker.metrics,
})

await untilStopped(log)
await broker[Symbol.asyncDispose]()
await server[Symbol.asyncDispose]()
await tracing?.[Symbol.asyncDispose]()
await sql.end({ timeout: 5 })
