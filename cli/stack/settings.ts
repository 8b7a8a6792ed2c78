/** What a data directory keeps about its stack: its ports, and so the issuer, never change by themselves. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findFreePort, isFreePort } from '@bmm/lib/free-port'
import { z } from 'zod'
import { failed } from '../fault.ts'
import { claimNumber } from './claims.ts'

const DEFAULT_PORT = 8787
const DEFAULT_GRPC_PORT = 9787
const PORTS_TRIED = 100

const settingsSchema = z.object({
  port: z.number().int().min(1).max(65535),
  /** Absent in data of a version that had no gRPC port. */
  grpcPort: z.number().int().min(1).max(65535).optional(),
  postgres: z.enum(['embedded', 'external']),
  redis: z.enum(['own', 'external']),
  /** The https origin that people reach, null for localhost; absent in data of a version that did not keep it. */
  publicUrl: z.string().nullable().optional(),
  /** Origins that it had before: servers confirmed under them are still served. */
  formerUrls: z.array(z.string()).optional(),
  /** Whether an external Postgres holds this stack's data: an empty one then is the wrong one. */
  claimed: z.literal(true).optional(),
})
export type Kept = z.infer<typeof settingsSchema>
export type Settings = Kept & { grpcPort: number }
type Origins = Pick<Settings, 'postgres' | 'redis'>

/**
 * The settings of a data directory, made at its first start. `wantedPort` 0 means any free ones.
 * Throws CommandFault where what is asked for would silently leave the old data or change the issuer.
 */
export function openSettings(
  data: string,
  wantedPort: number | undefined,
  origins: Origins,
): Settings {
  const kept = findSettings(data)
  if (kept === undefined) {
    const port = claimPort(data, wantedPort)
    const grpcPort = claimGrpcPort(data, port, wantedPort === 0)
    return keep(data, { port, grpcPort }, origins)
  }
  if (wantedPort !== undefined && wantedPort !== 0 && wantedPort !== kept.port) {
    throw failed(
      'port_fixed',
      `The data in ${data} belongs to port ${kept.port}: its address is in every token and client, so it stays. Leave --port out, or start another stack with --data.`,
    )
  }
  requireOrigin('DATABASE_URL', kept.postgres, origins.postgres, data)
  requireOrigin('REDIS_URL', kept.redis, origins.redis, data)
  requireFree(kept.port, data)
  const { grpcPort } = kept
  if (grpcPort === undefined) {
    return writeSettings(data, { ...kept, grpcPort: claimGrpcPort(data, kept.port, false) })
  }
  requireFree(grpcPort, data)
  return { ...kept, grpcPort }
}

function requireFree(port: number, data: string): void {
  if (isFreePort(port)) return
  throw failed(
    'port_taken',
    `Port ${port} belongs to the data in ${data} and another program listens on it: stop that program.`,
  )
}

/** Whether the data in an external Postgres was ever this stack's. */
export function hasClaimed(data: string): boolean {
  return findSettings(data)?.claimed === true
}

/** From now on an external Postgres that is empty is refused. */
export function keepClaimed(data: string): void {
  const kept = findSettings(data)
  if (kept !== undefined && kept.claimed !== true) writeSettings(data, { ...kept, claimed: true })
}

function keep(
  data: string,
  ports: Pick<Settings, 'port' | 'grpcPort'>,
  origins: Origins,
): Settings {
  return writeSettings(data, { ...ports, ...origins })
}

/** Replaces the kept settings as a whole. */
export function writeSettings<Written extends Kept>(data: string, settings: Written): Written {
  writeFileSync(`${settingsFile(data)}.new`, `${JSON.stringify(settings)}\n`, { mode: 0o600 })
  renameSync(`${settingsFile(data)}.new`, settingsFile(data))
  return settings
}

/** The kept settings, or undefined before the first start. */
export function findSettings(data: string): Kept | undefined {
  if (!existsSync(settingsFile(data))) return undefined
  const parsed = settingsSchema.safeParse(JSON.parse(readFileSync(settingsFile(data), 'utf8')))
  if (!parsed.success) {
    throw failed('settings_broken', `${settingsFile(data)} is not what ./bmm wrote: restore it.`)
  }
  return parsed.data
}

function settingsFile(data: string): string {
  return join(data, 'config.json')
}

function requireOrigin(variable: string, kept: string, given: string, data: string): void {
  if (kept === given) return
  throw failed(
    'origin_changed',
    kept === 'external'
      ? `The data in ${data} was started with ${variable}: give it again.`
      : `The data in ${data} was started without ${variable}: leave it out, or start another stack with --data.`,
  )
}

/** A port that no other data directory has, whether its stack runs now or not: its tokens contain it. */
function claimPort(data: string, wanted: number | undefined): number {
  const choose = (taken: ReadonlySet<number>) => choosePort(wanted, taken, DEFAULT_PORT)
  return claimNumber({ kind: 'ports', data, choose, keep: false })
}

/** The same for gRPC, whose clients are configured with it. */
function claimGrpcPort(data: string, port: number, any: boolean): number {
  const choose = (taken: ReadonlySet<number>) =>
    choosePort(any ? 0 : undefined, new Set([...taken, port]), DEFAULT_GRPC_PORT)
  return claimNumber({ kind: 'grpc-ports', data, choose, keep: false })
}

function choosePort(wanted: number | undefined, taken: ReadonlySet<number>, first: number): number {
  if (wanted === 0) {
    for (let attempt = 0; attempt < PORTS_TRIED; attempt++) {
      const port = anyFreePort()
      if (!taken.has(port)) return port
    }
  } else if (wanted !== undefined) {
    if (!taken.has(wanted) && isFreePort(wanted)) return wanted
    const owner = taken.has(wanted)
      ? 'The data of another stack belongs to'
      : 'Another program listens on'
    throw failed('port_taken', `${owner} port ${wanted}: choose another --port.`)
  } else {
    for (let port = first; port < first + PORTS_TRIED; port++) {
      if (!taken.has(port) && isFreePort(port)) return port
    }
  }
  throw failed('port_taken', 'No port was found that is free: choose one with --port.')
}

/** A port that nothing listens on now, on either loopback address. */
export function anyFreePort(): number {
  const port = findFreePort()
  if (port === undefined) throw failed('port_taken', 'This machine has no free port.')
  return port
}
