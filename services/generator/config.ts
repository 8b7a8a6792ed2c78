/** The environment of the generator, read once. */
import {
  type Env,
  ownListenersSchema,
  publicUrlSchema,
  readEnv,
  serviceConfig,
  serviceEnv,
} from '@bmm/lib/env'
import { z } from 'zod'
import { childPrograms } from './child-programs.ts'

/** Throws ConfigError that names every fault. */
export function configFrom(env: Env = process.env) {
  const vars = readEnv(
    {
      ...serviceEnv,
      BMM_DATABASE_URL: z.string().min(1),
      BMM_REDIS_URL: z.string().min(1),
      /** Origin of the gateway, without a trailing slash: what resource URLs begin with. */
      BMM_PUBLIC_URL: publicUrlSchema,
      BMM_OWN_LISTENERS: ownListenersSchema,
      /** A folder that `bundle.ts` has filled; without one the children run from the sources. */
      BMM_CHILD_PROGRAMS: z.string().startsWith('/').optional(),
    },
    env,
  )
  return {
    ...serviceConfig(vars),
    databaseUrl: vars.BMM_DATABASE_URL,
    redisUrl: vars.BMM_REDIS_URL,
    publicUrl: vars.BMM_PUBLIC_URL,
    ownListeners: vars.BMM_OWN_LISTENERS,
    programs: childPrograms(vars.BMM_CHILD_PROGRAMS),
  }
}
