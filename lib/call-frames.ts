/** What gateway, runner and sandbox say about a call: the payloads of its frames, one schema for both ends of a leg. */
import { z } from 'zod'
import { isTrace } from './tracing.ts'

/** The `mtd` claim of the JWT with which a gateway greets the runner. */
export const CALLS_METHOD = '/frames/calls'

const MAX_TIMEOUT_MS = 10 * 60_000
const MAX_TEXT = 64

/** The header of a CALL from the gateway to the runner. */
export type CallHeader = {
  serverId: string
  epoch: number
  tool: string
  userId: string
  orgId: string
  timeoutMs: number
  requestId: string
  /** Whether the client asked for PROGRESS. */
  progress: boolean
  /** The gateway's span, where this call is traced. */
  trace?: string
}

const userIdPattern = /^[A-Za-z0-9_-]{1,80}$/

/** By hand, unlike all other payloads: this one comes with every call, and a schema would cost it a fifth more. */
export function isCallHeader(value: unknown): value is CallHeader {
  if (typeof value !== 'object' || value === null) return false
  const header: Partial<Record<keyof CallHeader, unknown>> = value
  return (
    isText(header.serverId) &&
    isWhole(header.epoch) &&
    isText(header.tool) &&
    header.tool !== '' &&
    typeof header.userId === 'string' &&
    userIdPattern.test(header.userId) &&
    isText(header.orgId) &&
    isWhole(header.timeoutMs) &&
    header.timeoutMs <= MAX_TIMEOUT_MS &&
    isText(header.requestId) &&
    typeof header.progress === 'boolean' &&
    (header.trace === undefined || isTrace(header.trace))
  )
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_TEXT
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0
}

/**
 * VERDICT, from the gateway to the runner, which counts calls and never parses a result: an answered call was an error
 * of its tool or no result at all, or the gateway turned a call away by a limit of its own.
 */
export const verdictSchema = z.object({
  serverId: z.string().max(64),
  tool: z.string().max(64),
  requestId: z.string().max(64),
  verdict: z.enum(['tool_error', 'result_invalid', 'refused']),
})
export type Verdict = z.infer<typeof verdictSchema>

/** PROGRESS, passed through from the sandbox to the gateway. */
export const progressSchema = z.object({
  progress: z.number(),
  total: z.number().optional(),
  message: z.string().max(2_000).optional(),
})
export type Progress = z.infer<typeof progressSchema>

/** FAILED: a longer message from a sandbox ends the sandbox, not the connection of everybody's calls. */
export const failedSchema = z.object({ code: z.string().max(64), message: z.string().max(4_096) })
