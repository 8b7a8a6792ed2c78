/** The gateway's process: wiring only. */
import { join } from 'node:path'
import { configOrExit } from '@bmm/lib/env'
import { openIdentity } from '@bmm/lib/identity'
import { createLog } from '@bmm/lib/log'
import { forbidInspection, untilStopped } from '@bmm/lib/process'
import { openRedis } from '@bmm/lib/redis'
import { serveRpc } from '@bmm/lib/server'
import { openTracing } from '@bmm/lib/tracing'
import { configFrom } from './config.ts'
import { openGateway } from './gateway.ts'
import { findFaults } from './health.ts'

forbidInspection()
const config = configOrExit(configFrom)
const log = createLog('gateway', config.logLevel)
const identity = await openIdentity({
  name: 'gateway',
  privateKeyPem: config.privateKeyPem,
  publicKeys: config.publicKeys,
})
const redis = openRedis(config.redisUrl, { log })
const tracing = await openTracing({ service: 'gateway', config: config.tracing, log })
const { rpcDir, publicUrl, formerUrls, port, grpcPort, trusted, mailbox, addresses } = config
const gateway = await openGateway({
  ...{ identity, rpcDir, redis, publicUrl, formerUrls, port, grpcPort, trusted, log, addresses },
  ...(mailbox === undefined ? {} : { mailbox }),
  ...(tracing === undefined ? {} : { tracing: { tracing, clients: config.traceClients } }),
})

/** The supervisor's health check; the gateway has no RPC of its own. */
const server = serveRpc({
  identity,
  socket: join(rpcDir, 'gateway', 'rpc.sock'),
  routes: () => {},
  log,
  fault: async () => {
    const faults = Object.entries(await findFaults(gateway.checks))
    return faults.length === 0
      ? undefined
      : faults.map(([name, why]) => `${name} ${why}`).join(', ')
  },
  metrics: gateway.metrics,
})
/** Loaded only where somebody wants it: the library takes 15 MB. */
const metrics =
  config.metricsAddress === undefined
    ? undefined
    : (await import('./arrival/metrics-listener.ts')).listenForMetrics({
        ...{ address: config.metricsAddress, rpcDir, log },
      })

await untilStopped(log)
await metrics?.[Symbol.asyncDispose]()
await gateway[Symbol.asyncDispose]()
await tracing?.[Symbol.asyncDispose]()
await server[Symbol.asyncDispose]()
redis.disconnect()
