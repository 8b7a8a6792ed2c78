/** The keeper's environment, read once. */
import { availableParallelism } from 'node:os'
import { type Env, readEnv } from '@bmm/lib/env'
import { z } from 'zod'
import { MAX_SLOTS, sandboxCores, sandboxLimits } from '../sandbox/sandbox-limits.ts'
import { type DriverName, driverNames } from './driver.ts'
import type { SlotOwners } from './slots.ts'

export type KeeperConfig = {
  logLevel: 'debug' | 'info' | 'warn' | 'error' | 'silent'
  socket: string
  driver: DriverName
  /** Only this process reaches it. */
  dockerSocket: string
  /** Another OCI runtime of the engine; undefined for its own. */
  dockerRuntime: string | undefined
  /** Names what belongs to this stack on the machine: control groups, containers, image. */
  cgroup: string
  /** The folder of the sandboxes' root file systems; the keeper makes the one it needs. */
  rootfsDirectory: string
  /** What sandboxes of one organisation may use together. */
  organisationCores: number
  owners: SlotOwners
}

const FIRST_UID = 1
const MAX_UID = 0xffff_fffe
const uid = z.coerce.number().int().min(FIRST_UID).max(MAX_UID)
const LEAST_CORES = 0.1
const MAX_CORES = 1_024
const path = z.string().startsWith('/')

const variables = {
  BMM_LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  BMM_KEEPER_SOCKET: path,
  BMM_DRIVER: z.enum(driverNames),
  BMM_DOCKER_SOCKET: path.default('/var/run/docker.sock'),
  BMM_DOCKER_RUNTIME: z
    .string()
    .regex(/^[\w.-]{1,100}$/)
    .optional(),
  BMM_SLOTS_DIR: path,
  BMM_SLOTS: z.coerce.number().int().min(1).max(MAX_SLOTS),
  BMM_SLOT_UID_BASE: uid,
  BMM_RUNNER_UID: uid,
  BMM_BROKER_UID: uid,
  BMM_ROOTFS: path,
  BMM_ORG_CORES: z.coerce.number().min(LEAST_CORES).max(MAX_CORES).optional(),
  BMM_CGROUP: z.string().regex(/^bmm-[a-z0-9-]{1,32}$/),
}

/** Throws one ConfigError that lists every fault. */
export function configFrom(env: Env = process.env): KeeperConfig {
  const values = readEnv(variables, env)
  return {
    logLevel: values.BMM_LOG_LEVEL,
    socket: values.BMM_KEEPER_SOCKET,
    driver: values.BMM_DRIVER,
    dockerSocket: values.BMM_DOCKER_SOCKET,
    dockerRuntime: values.BMM_DOCKER_RUNTIME,
    cgroup: values.BMM_CGROUP,
    rootfsDirectory: values.BMM_ROOTFS,
    organisationCores:
      values.BMM_ORG_CORES ??
      Math.max(sandboxCores, availableParallelism() * sandboxLimits.organisationCpuShare),
    owners: {
      slotsDir: values.BMM_SLOTS_DIR,
      slots: values.BMM_SLOTS,
      slotUidBase: values.BMM_SLOT_UID_BASE,
      runnerUid: values.BMM_RUNNER_UID,
      brokerUid: values.BMM_BROKER_UID,
    },
  }
}
