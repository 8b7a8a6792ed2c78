/** The environment of the runner's main process, read once. */
import { totalmem } from 'node:os'
import {
  type Env,
  readEnv,
  serviceConfig,
  serviceEnv,
  tracingConfig,
  tracingEnv,
} from '@bmm/lib/env'
import { z } from 'zod'
import type { AdmissionLimits } from './fleet/admission.ts'
import type { PoolBounds } from './fleet/pool.ts'
import { MAX_SLOTS } from './sandbox/sandbox-limits.ts'

const MEBIBYTE = 1024 * 1024
/** Measured: about 10 MiB after thousands of calls; the rest is for servers that hold data. */
const EXPECTED_SANDBOX_BYTES = 48 * MEBIBYTE
const WAKES_PER_SECOND = 10
const path = z.string().startsWith('/')
const count = z.coerce.number().int().min(1)

/** Throws ConfigError that names every fault. */
export function configFrom(env: Env = process.env) {
  const vars = readEnv(
    {
      ...serviceEnv,
      ...tracingEnv,
      BMM_DATABASE_URL: z.string().min(1),
      BMM_KEEPER_SOCKET: path,
      BMM_SLOTS_DIR: path,
      /** Sandboxes at most, warm ones included. */
      BMM_SLOTS: count.max(MAX_SLOTS),
      /** Warm sandboxes at least; busy times raise it up to a quarter of the slots. */
      BMM_POOL_SIZE: count.max(MAX_SLOTS / 4),
      BMM_SANDBOX_IDLE_MS: count.default(60_000),
      /** Sandboxes that one organisation may have at once; three quarters of the slots unless set. */
      BMM_ORG_SANDBOXES: count.optional(),
      /** Memory for all sandboxes together; half of the machine's unless set. */
      BMM_SANDBOX_MEMORY_MB: count.optional(),
    },
    env,
  )
  const slots = vars.BMM_SLOTS
  const pool: PoolBounds = {
    min: Math.min(vars.BMM_POOL_SIZE, slots),
    max: Math.max(vars.BMM_POOL_SIZE, Math.floor(slots / 4)),
  }
  const memoryBytes = (vars.BMM_SANDBOX_MEMORY_MB ?? totalmem() / 2 / MEBIBYTE) * MEBIBYTE
  const admission: AdmissionLimits = {
    memoryBytes: Math.min(memoryBytes, slots * EXPECTED_SANDBOX_BYTES),
    bytesPerSandbox: EXPECTED_SANDBOX_BYTES,
    sandboxesPerOrg: vars.BMM_ORG_SANDBOXES ?? Math.max(1, Math.floor((slots * 3) / 4)),
    wakeBurst: slots,
    wakesPerSecond: WAKES_PER_SECOND,
  }
  return {
    ...serviceConfig(vars),
    tracing: tracingConfig(vars),
    databaseUrl: vars.BMM_DATABASE_URL,
    sandboxes: {
      keeperSocket: vars.BMM_KEEPER_SOCKET,
      slotsDir: vars.BMM_SLOTS_DIR,
      ...{ slots, pool, admission },
      idleMs: vars.BMM_SANDBOX_IDLE_MS,
    },
  }
}
