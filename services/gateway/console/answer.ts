/** From messages of the services to JSON of the API: names for numbers, RFC 3339 for times. */
import { schemeNames } from '@bmm/lib/credential-scheme'
import {
  type Build,
  type BuildEvent,
  BuildState,
  BuildStep,
  type Draft,
  type Server,
  ServerState,
} from '@bmm/proto/generator/v1/server'
import type { LogLine } from '@bmm/proto/runner/v1/runner_service'
import type { Secret } from '@bmm/proto/secrets/v1/secret'
import { accessSchema } from '@bmm/spec/statement'
import { type Timestamp, timestampDate } from '@bufbuild/protobuf/wkt'
import { z } from 'zod'

/** RFC 3339 in UTC with milliseconds. */
const time = z.iso.datetime({ precision: 3 })
const serverStates = ['building', 'live', 'paused', 'failed', 'deleting'] as const
const buildStates = ['queued', 'running', 'succeeded', 'failed', 'cancelled'] as const
const buildSteps = ['resolve', 'scan', 'compile', 'try', 'sign', 'deploy'] as const

export const serverAnswer = z
  .object({
    id: z.string(),
    orgId: z.string(),
    slug: z.string(),
    name: z.string(),
    state: z.enum(serverStates),
    version: z.number().int().describe('The live version; 0 when there is none.'),
    url: z.string().describe('The MCP endpoint.'),
    tools: z.number().int(),
    specDigest: z.string().describe('What a resume confirms; empty before the first version.'),
    access: accessSchema,
    createdAt: time,
    createdBy: z.string(),
    latestBuildId: z.string(),
  })
  .meta({ id: 'Server' })

export function serverJson(server: Server | undefined): z.infer<typeof serverAnswer> {
  const { id, orgId, slug, name, version, tools, specDigest, createdBy, latestBuildId } =
    present(server)
  return {
    ...{ id, orgId, slug, name, version, tools, specDigest, createdBy, latestBuildId },
    state: serverStateName(present(server).state),
    url: present(server).resourceUrl,
    access: accessSchema.parse(JSON.parse(present(server).access)),
    createdAt: timeText(present(server).createdAt),
  }
}

export const buildAnswer = z
  .object({
    id: z.string(),
    serverId: z.string(),
    version: z.number().int(),
    state: z.enum(buildStates),
    steps: z.array(
      z.object({
        step: z.enum(buildSteps),
        state: z.enum(buildStates),
        elapsedMs: z.number().int(),
      }),
    ),
    reason: z.string().describe('Machine reason of a failure, else empty.'),
    message: z.string(),
    createdAt: time,
  })
  .meta({ id: 'Build' })

export function buildJson(build: Build | undefined): z.infer<typeof buildAnswer> {
  const { id, serverId, version, state, steps, reason, message, createdAt } = present(build)
  return {
    ...{ id, serverId, version, reason, message },
    state: buildStateName(state),
    steps: steps.map((report) => ({
      step: buildStepName(report.step),
      state: buildStateName(report.state),
      elapsedMs: Number(report.elapsedMs),
    })),
    createdAt: timeText(createdAt),
  }
}

/** One event of a build's WebSocket; `step` and `state` are absent where the event has none. */
const buildEventAnswer = z
  .object({
    seq: z.number().int(),
    step: z.enum(buildSteps).optional(),
    state: z.enum(buildStates).optional(),
    elapsedMs: z.number().int(),
    line: z.string().optional(),
    at: time,
  })
  .meta({ id: 'BuildEvent' })

export function buildEventJson(event: BuildEvent): z.infer<typeof buildEventAnswer> {
  const { seq, step, state, elapsedMs, line, at } = event
  return {
    seq: Number(seq),
    ...(step === BuildStep.UNSPECIFIED ? {} : { step: buildStepName(step) }),
    ...(state === BuildState.UNSPECIFIED ? {} : { state: buildStateName(state) }),
    elapsedMs: Number(elapsedMs),
    ...(line === '' ? {} : { line }),
    at: timeText(at),
  }
}

export const draftAnswer = z
  .object({
    id: z.string(),
    digest: z.string().describe('What creating a server confirms.'),
    spec: z.record(z.string(), z.unknown()).describe('The spec as it would be confirmed.'),
    tools: z.number().int(),
    warnings: z.array(
      z.object({
        path: z.string().describe('JSON pointer into the document, or empty.'),
        message: z.string(),
        refused: z.boolean().describe('The operation was left out.'),
      }),
    ),
    tags: z.array(z.object({ name: z.string(), tools: z.number().int() })),
    expiresAt: time,
  })
  .meta({ id: 'Draft' })

export function draftJson(draft: Draft | undefined): z.infer<typeof draftAnswer> {
  const { id, specDigest, spec, tools, notes, tags, expiresAt } = present(draft)
  return {
    ...{ id, tools },
    digest: specDigest,
    spec: JSON.parse(new TextDecoder().decode(spec)),
    warnings: notes.map(({ path, message, refused }) => ({ path, message, refused })),
    tags: tags.map((tag) => ({ name: tag.name, tools: tag.tools })),
    expiresAt: timeText(expiresAt),
  }
}

export const credentialAnswer = z
  .object({
    name: z.string(),
    destination: z
      .object({
        scheme: z.enum(schemeNames),
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

/** What is stored of a value; the value itself never comes back. */
export function storedJson(secret: Secret) {
  const { lastFour, updatedAt, updatedBy } = secret
  return {
    stored: true,
    ...(lastFour === '' ? {} : { lastFour }),
    updatedAt: timeText(updatedAt),
    updatedBy,
  }
}

export const logLineAnswer = z
  .object({
    seq: z.number().int(),
    at: time,
    level: z.string(),
    tool: z.string().optional(),
    message: z.string(),
    requestId: z.string().optional(),
  })
  .meta({ id: 'LogLine' })

export function logLineJson(line: LogLine): z.infer<typeof logLineAnswer> {
  const { seq, at, level, tool, message, requestId } = line
  return {
    seq: Number(seq),
    at: timeText(at),
    level,
    ...(tool === '' ? {} : { tool }),
    message,
    ...(requestId === '' ? {} : { requestId }),
  }
}

export function timeText(timestamp: Timestamp | undefined): string {
  return timestampDate(present(timestamp)).toISOString()
}

/** Services answer whole messages; a missing one is a bug there. */
export function present<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error('a service left a part of its answer out')
  return value
}

function serverStateName(state: ServerState) {
  return present(serverStates[state - ServerState.BUILDING])
}

function buildStateName(state: BuildState) {
  return present(buildStates[state - BuildState.QUEUED])
}

function buildStepName(step: BuildStep) {
  return present(buildSteps[step - BuildStep.RESOLVE])
}
