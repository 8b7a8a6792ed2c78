/** The environment of the broker, read once. */
import {
  type Env,
  ownListenersSchema,
  readEnv,
  serviceConfig,
  serviceEnv,
  tracingConfig,
  tracingEnv,
} from '@bmm/lib/env'
import { z } from 'zod'
import { MAX_SLOTS } from '../sandbox/sandbox-limits.ts'

/** Throws ConfigError that names every fault. */
export function configFrom(env: Env = process.env) {
  const vars = readEnv(
    {
      ...serviceEnv,
      ...tracingEnv,
      BMM_DATABASE_URL: z.string().min(1),
      BMM_SLOTS_DIR: z.string().startsWith('/'),
      BMM_SLOTS: z.coerce.number().int().min(1).max(MAX_SLOTS),
      BMM_OWN_LISTENERS: ownListenersSchema,
    },
    env,
  )
  return {
    ...serviceConfig(vars),
    tracing: tracingConfig(vars),
    databaseUrl: vars.BMM_DATABASE_URL,
    slotsDir: vars.BMM_SLOTS_DIR,
    slots: vars.BMM_SLOTS,
    ownListeners: vars.BMM_OWN_LISTENERS,
  }
}
