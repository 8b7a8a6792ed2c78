/** The auth service's process: wiring only. */
import { join } from 'node:path'
import { configOrExit } from '@bmm/lib/env'
import { openIdentity } from '@bmm/lib/identity'
import { createLog } from '@bmm/lib/log'
import { forbidInspection, untilStopped } from '@bmm/lib/process'
import { openRedis } from '@bmm/lib/redis'
import { serveRpc } from '@bmm/lib/server'
import { migrate, openSql, ping, readMigrations } from '@bmm/lib/sql'
import { startCleanUp } from './clean-up.ts'
import { configFrom } from './config.ts'
import { successorKey } from './oauth/successor-key.ts'
import { openRevoker } from './revocation.ts'
import { authRoutes } from './service.ts'
import { mailboxSender, smtpSender } from './sign-in/mail.ts'
import { openSigningKeys } from './signing-keys.ts'

forbidInspection()
const config = configOrExit(configFrom)
const log = createLog('auth', config.logLevel)
const now = Date.now
const { privateKeyPem, publicKeys, publicUrl, userTokenKey, kek, mail } = config
const identity = await openIdentity({ name: 'auth', privateKeyPem, publicKeys })
const sql = openSql(config.databaseUrl, { schema: 'auth' })
await migrate(sql, 'auth', readMigrations(join(import.meta.dir, 'migrations')))
const redis = openRedis(config.redisUrl, { log })
const keys = await openSigningKeys({ sql, kek, now })
const revoker = openRevoker({ sql, redis, log, now })
const sendMail = mail.kind === 'smtp' ? smtpSender(mail) : mailboxSender(mail.directory, now)
const cleaning = startCleanUp({ sql, log, now })

const server = serveRpc({
  identity,
  socket: join(config.rpcDir, 'auth', 'rpc.sock'),
  routes: authRoutes({
    session: { sql, sendMail, publicUrl, log, userTokenKey, now },
    oauth: { sql, issuer: publicUrl, keys, successorKey: successorKey(kek), revoker, now },
    clients: { sql, revoker, now },
    tokens: { sql, userTokenKey, revoker, log, now },
  }),
  log,
  fault: () => ping(sql).then(() => undefined),
})

await untilStopped(log)
await server[Symbol.asyncDispose]()
await cleaning[Symbol.asyncDispose]()
redis.disconnect()
await sql.end({ timeout: 5 })
