/** The environment of the broker, read once. */
import { type Env, readEnv, serviceConfig, serviceEnv } from '@bmm/lib/env'
import { z } from 'zod'
import { MAX_SLOTS } from '../sandbox-limits.ts'

const listenerPattern = /^(\[[0-9a-f:.]+\]|[^\s:[\]]+):\d{1,5}$/i

/** Throws ConfigError that names every fault. */
export function configFrom(env: Env = process.env) {
  const vars = readEnv(
    {
      ...serviceEnv,
      BMM_DATABASE_URL: z.string().min(1),
      BMM_SLOTS_DIR: z.string().startsWith('/'),
      BMM_SLOTS: z.coerce.number().int().min(1).max(MAX_SLOTS),
      /** `HOST:PORT,…` of the platform itself: refused to every server, whatever the operator allows. */
      BMM_OWN_LISTENERS: z
        .string()
        .transform((text) => text.split(',').filter((part) => part !== ''))
        .pipe(z.array(z.string().regex(listenerPattern, 'is not HOST:PORT'))),
    },
    env,
  )
  return {
    ...serviceConfig(vars),
    databaseUrl: vars.BMM_DATABASE_URL,
    slotsDir: vars.BMM_SLOTS_DIR,
    slots: vars.BMM_SLOTS,
    ownListeners: vars.BMM_OWN_LISTENERS.map((listener) => listener.toLowerCase()),
  }
}
