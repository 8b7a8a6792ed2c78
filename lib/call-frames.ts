/** What gateway, runner and sandbox say about a call: the payloads of its frames, one schema for both ends of a leg. */
import { z } from 'zod'

/** The `mtd` claim of the JWT with which a gateway greets the runner. */
export const CALLS_METHOD = '/frames/calls'

const MAX_TIMEOUT_MS = 10 * 60_000

/** The header of a CALL from the gateway to the runner. */
export const callHeaderSchema = z.object({
  serverId: z.string().max(64),
  epoch: z.number().int().positive(),
  tool: z.string().min(1).max(64),
  userId: z.string().regex(/^[A-Za-z0-9_-]{1,80}$/),
  orgId: z.string().max(64),
  timeoutMs: z.number().int().min(1).max(MAX_TIMEOUT_MS),
  requestId: z.string().max(64),
  /** Whether the client asked for PROGRESS. */
  progress: z.boolean(),
})
export type CallHeader = z.infer<typeof callHeaderSchema>

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
