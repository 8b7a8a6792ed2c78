/** The environment of the generator, read once. */
import { type Env, publicUrlSchema, readEnv, serviceConfig, serviceEnv } from '@bmm/lib/env'
import { z } from 'zod'

/** Throws ConfigError that names every fault. */
export function configFrom(env: Env = process.env) {
  const vars = readEnv(
    {
      ...serviceEnv,
      BMM_DATABASE_URL: z.string().min(1),
      BMM_REDIS_URL: z.string().min(1),
      /** Origin of the gateway, without a trailing slash: what resource URLs begin with. */
      BMM_PUBLIC_URL: publicUrlSchema,
    },
    env,
  )
  return {
    ...serviceConfig(vars),
    databaseUrl: vars.BMM_DATABASE_URL,
    redisUrl: vars.BMM_REDIS_URL,
    publicUrl: vars.BMM_PUBLIC_URL,
    ownListeners: listenersOf(new URL(vars.BMM_PUBLIC_URL)),
  }
}

/** The gateway's `host:port`, under each name of this machine when it is local: documents are never fetched from it. */
function listenersOf({ protocol, hostname, port }: URL): string[] {
  const number = port === '' ? (protocol === 'https:' ? '443' : '80') : port
  const hosts = hostname === 'localhost' ? ['localhost', '127.0.0.1', '[::1]'] : [hostname]
  return hosts.map((host) => `${host}:${number}`)
}
