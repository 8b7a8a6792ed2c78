/** The secrets service's process: wiring only. */
import { join } from 'node:path'
import { configOrExit } from '@bmm/lib/env'
import { openIdentity } from '@bmm/lib/identity'
import { createLog } from '@bmm/lib/log'
import { forbidInspection, untilStopped } from '@bmm/lib/process'
import { serveRpc } from '@bmm/lib/server'
import { migrate, openSql, ping } from '@bmm/lib/sql'
import { openChanges } from './changes.ts'
import { configFrom } from './config.ts'
import { openKeyring } from './keyring.ts'
import { openLedger } from './ledger.ts'
import { secretsMigrations } from './migration.ts'
import { secretsRoutes } from './service.ts'
import { startForgetting } from './unused.ts'

forbidInspection()
const config = configOrExit(configFrom)
const log = createLog('secrets', config.logLevel)
const identity = await openIdentity({
  name: 'secrets',
  privateKeyPem: config.privateKeyPem,
  publicKeys: config.publicKeys,
})
const sql = openSql(config.databaseUrl, { schema: 'secrets' })
await migrate(sql, 'secrets', secretsMigrations(config.kek))
const keyring = await openKeyring(sql, config.kek)
const ledger = openLedger({ kek: config.kek, log })
const ending = new AbortController()
const changes = openChanges(ending.signal)

const server = serveRpc({
  identity,
  socket: join(config.rpcDir, 'secrets', 'rpc.sock'),
  routes: secretsRoutes({ sql, keyring, ledger, changes, now: () => new Date() }),
  log,
  fault: () => ping(sql).then(() => undefined),
})
const forgetting = startForgetting({ sql, log, now: Date.now })

await untilStopped(log)
ending.abort()
await forgetting[Symbol.asyncDispose]()
await server[Symbol.asyncDispose]()
await sql.end({ timeout: 5 })
