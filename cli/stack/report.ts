/** What a running stack says about itself: the file in its run directory, and the events while it starts. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import { isLocked } from './lock.ts'
import type { StackPaths } from './paths.ts'

const reportSchema = z.object({
  gateway: z.string(),
  grpc: z.string(),
  /** What the gateway's port listens on. */
  listen: z.array(z.string()).default([]),
  mailbox: z.string().nullable(),
  data: z.string(),
  driver: z.string(),
  /** Why this driver. */
  why: z.string(),
  pid: z.number().int(),
})
export type Report = z.infer<typeof reportSchema>

/** What the supervisor tells the command that started it, one JSON a line. */
export const eventSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('progress'), line: z.string() }),
  z.object({ kind: z.literal('ready'), report: reportSchema }),
  z.object({ kind: z.literal('failed'), code: z.string(), message: z.string() }),
])
export type StackEvent = z.infer<typeof eventSchema>

export function writeReport(paths: StackPaths, report: Report): void {
  writeFileSync(`${paths.report}.new`, JSON.stringify(report), { mode: 0o600 })
  renameSync(`${paths.report}.new`, paths.report)
}

export type StackState = { kind: 'down' } | { kind: 'starting' } | { kind: 'up'; report: Report }

/** Whether the stack of a data directory runs; the lock decides, since a killed supervisor cannot remove files. */
export function stackState(paths: StackPaths): StackState {
  if (!isLocked(paths.lock)) return { kind: 'down' }
  try {
    return {
      kind: 'up',
      report: reportSchema.parse(JSON.parse(readFileSync(paths.report, 'utf8'))),
    }
  } catch {
    return { kind: 'starting' }
  }
}

/** Writes the supervisor's process id beside the lock that it holds, for `down`. */
export function writeSupervisorPid(paths: StackPaths): void {
  writeFileSync(`${paths.lock}.pid`, String(process.pid), { mode: 0o600 })
}

/** The supervisor's process id while the lock is held, else undefined. */
export function supervisorPid(paths: StackPaths): number | undefined {
  if (!isLocked(paths.lock)) return undefined
  try {
    const pid = Number(readFileSync(`${paths.lock}.pid`, 'utf8'))
    return Number.isSafeInteger(pid) && pid > 1 ? pid : undefined
  } catch {
    return undefined
  }
}
