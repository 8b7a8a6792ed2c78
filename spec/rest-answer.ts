/** The answers of the REST API: the gateway checks and describes its own by these, and the CLI reads them. */
import { z } from 'zod'
import { credentialSchema } from './server-spec.ts'
import { accessSchema } from './statement.ts'

/** RFC 3339 in UTC with milliseconds. */
const time = z.iso.datetime({ precision: 3 })
const integer = z.number().int()
const jsonObject = z.record(z.string(), z.unknown())

export const serverStates = ['building', 'live', 'paused', 'failed', 'deleting'] as const
export const buildStates = ['queued', 'running', 'succeeded', 'failed', 'cancelled'] as const
export const buildSteps = ['resolve', 'scan', 'compile', 'try', 'sign', 'deploy'] as const

export const serverAnswer = z
  .object({
    id: z.string(),
    orgId: z.string(),
    slug: z.string(),
    name: z.string(),
    state: z.enum(serverStates),
    version: integer.describe('The live version; 0 when there is none.'),
    url: z.string().describe('The MCP endpoint.'),
    tools: integer,
    specDigest: z.string().describe('What a resume confirms; empty before the first version.'),
    access: accessSchema,
    createdAt: time,
    createdBy: z.string(),
    latestBuildId: z.string(),
  })
  .meta({ id: 'Server' })
export type ServerAnswer = z.infer<typeof serverAnswer>

export const serversAnswer = z.object({
  servers: z.array(serverAnswer),
  nextCursor: z.string().optional(),
})

export const buildAnswer = z
  .object({
    id: z.string(),
    serverId: z.string(),
    version: integer,
    state: z.enum(buildStates),
    steps: z.array(
      z.object({
        step: z.enum(buildSteps),
        state: z.enum(buildStates),
        elapsedMs: integer,
      }),
    ),
    reason: z.string().describe('Machine reason of a failure, else empty.'),
    message: z.string(),
    createdAt: time,
  })
  .meta({ id: 'Build' })
export type BuildAnswer = z.infer<typeof buildAnswer>

export const creationAnswer = z.object({ server: serverAnswer, build: buildAnswer })

export const deletionAnswer = z.object({
  finished: z.boolean().describe('False while the deletion still goes on by itself.'),
})

/** One event of a build's WebSocket; `step` and `state` are absent where the event has none. */
export const buildEventAnswer = z
  .object({
    seq: integer,
    step: z.enum(buildSteps).optional(),
    state: z.enum(buildStates).optional(),
    elapsedMs: integer,
    line: z.string().optional(),
    at: time,
  })
  .meta({ id: 'BuildEvent' })
export type BuildEventAnswer = z.infer<typeof buildEventAnswer>

export const draftAnswer = z
  .object({
    id: z.string(),
    digest: z.string().describe('What creating a server confirms.'),
    spec: jsonObject.describe('The spec as it would be confirmed.'),
    tools: integer,
    warnings: z.array(
      z.object({
        path: z.string().describe('JSON pointer into the document, or empty.'),
        message: z.string(),
        refused: z.boolean().describe('The operation was left out.'),
      }),
    ),
    tags: z.array(z.object({ name: z.string(), tools: integer })),
    expiresAt: time,
  })
  .meta({ id: 'Draft' })
export type DraftAnswer = z.infer<typeof draftAnswer>

/** A tool without its code, which is for the sandbox only. */
const toolAnswer = z
  .object({
    name: z.string(),
    title: z.string().optional(),
    description: z.string(),
    inputSchema: jsonObject.describe('JSON Schema 2020-12 of the arguments.'),
    outputSchema: jsonObject.optional(),
    annotations: jsonObject,
  })
  .meta({ id: 'Tool' })

export const toolsAnswer = z.object({ tools: z.array(toolAnswer) })

export const credentialAnswer = z
  .object({
    name: z.string(),
    destination: z
      .object({
        scheme: credentialSchema.shape.scheme,
        parameter: z.string().optional(),
        origins: z.array(z.string()),
      })
      .describe('Where the value goes, and nowhere else.'),
    stored: z.boolean().describe('Whether there is a value.'),
    optional: z.boolean(),
    description: z.string(),
    whereToGet: z.string().optional(),
    lastFour: z.string().optional(),
    updatedAt: time.optional(),
    updatedBy: z.string().optional(),
  })
  .meta({ id: 'Credential' })
export type CredentialAnswer = z.infer<typeof credentialAnswer>

export const credentialsAnswer = z.object({ credentials: z.array(credentialAnswer) })

export const logLineAnswer = z
  .object({
    seq: integer,
    at: time,
    level: z.string(),
    tool: z.string().optional(),
    message: z.string(),
    requestId: z.string().optional(),
  })
  .meta({ id: 'LogLine' })
export type LogLineAnswer = z.infer<typeof logLineAnswer>

export const logPageAnswer = z.object({
  lines: z.array(logLineAnswer),
  nextCursor: integer,
})

const MAX_REFUSALS = 200
export const refusalsAnswer = z.object({
  refusals: z
    .array(
      z.object({
        at: z.iso.datetime(),
        reason: z.string().describe('Machine reason, such as `origin_not_allowed`.'),
        method: z.string(),
        host: z.string(),
        message: z.string().describe('What to do about it.'),
      }),
    )
    .max(MAX_REFUSALS),
})

const callCountsAnswer = z
  .object({
    calls: integer,
    errors: integer.describe('All that follow, up to `failed`.'),
    toolErrors: integer.describe('Answered with `isError`, arguments that do not fit included.'),
    refused: integer.describe('Turned away by a limit.'),
    overdue: integer.describe('Not answered in time.'),
    cancelled: integer,
    failed: integer.describe('The sandbox ended, or its answer could not be used.'),
    bytesIn: integer,
    bytesOut: integer,
    p50Ms: z.number(),
    p95Ms: z.number(),
    p99Ms: z.number(),
  })
  .meta({ id: 'CallCounts' })
export type CallCountsAnswer = z.infer<typeof callCountsAnswer>

export const callStatsAnswer = z.object({
  ...{ from: z.iso.datetime(), to: z.iso.datetime(), total: callCountsAnswer },
  tools: z.array(callCountsAnswer.extend({ tool: z.string() })),
  points: z.array(callCountsAnswer.extend({ at: z.iso.datetime() })),
})

export const usageAnswer = z.object({
  month: z.string(),
  calls: integer.describe('Of all servers, deleted ones included, without refused calls.'),
  ...{ refused: integer, bytesIn: integer, bytesOut: integer },
})

const tokenAnswer = z
  .object({
    id: z.string(),
    name: z.string(),
    scopes: z.array(z.string()),
    createdAt: time,
    expiresAt: time,
    lastUsedAt: time.optional().describe('To the minute; absent before the first use.'),
    user: z.string().describe('The address of the person for whom it acts.'),
  })
  .meta({ id: 'ServiceToken' })
export type TokenAnswer = z.infer<typeof tokenAnswer>

export const newTokenAnswer = z.object({
  value: z.string().describe('`bmm_…`: shown here and never again.'),
  token: tokenAnswer,
})

export const tokensAnswer = z.object({ tokens: z.array(tokenAnswer) })

const userAnswer = z.object({ id: z.string(), email: z.string() }).meta({ id: 'User' })

export const signInAnswer = z.object({
  session: z.string().describe('The bearer of this API for 30 days, shown once.'),
  user: userAnswer,
})

export const sessionsAnswer = z.object({
  sessions: z.array(
    z.object({
      id: z.string(),
      userAgent: z.string().describe('What signed in, as it called itself.'),
      current: z.boolean(),
      createdAt: time,
      expiresAt: time,
    }),
  ),
})

export const meAnswer = z.object({
  user: userAnswer,
  org: z.object({ id: z.string(), name: z.string() }),
  role: z.string(),
  session: z.object({ id: z.string(), expiresAt: time }).optional().describe('Of a person.'),
  token: z
    .object({
      id: z.string(),
      name: z.string().describe('What it is for.'),
      scopes: z.array(z.string()),
      expiresAt: time,
    })
    .optional()
    .describe('Of a program, with any scope.'),
})

/** RFC 9457. */
export const problemAnswer = z
  .object({
    type: z.string(),
    title: z.string(),
    status: integer,
    detail: z.string().describe('A sentence for people.'),
    code: z.string().describe('Machine reason, such as `slug_taken`.'),
    requestId: z.string(),
    errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  })
  .meta({ id: 'Problem' })
