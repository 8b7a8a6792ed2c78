/** From messages of the services to JSON of the API: names for numbers, RFC 3339 for times. */
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
import {
  type BuildAnswer,
  type BuildEventAnswer,
  buildStates,
  buildSteps,
  type DraftAnswer,
  type LogLineAnswer,
  type ServerAnswer,
  serverStates,
} from '@bmm/spec/rest-answer'
import { accessSchema } from '@bmm/spec/statement'
import { type Timestamp, timestampDate } from '@bufbuild/protobuf/wkt'

export function serverJson(server: Server | undefined): ServerAnswer {
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

export function buildJson(build: Build | undefined): BuildAnswer {
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

export function buildEventJson(event: BuildEvent): BuildEventAnswer {
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

/** The spec goes in as the generator wrote it: a large one is not parsed here. */
export function draftResponse(draft: Draft | undefined, status = 200): Response {
  const { id, specDigest, spec, tools, notes, tags, expiresAt } = present(draft)
  const rest: Omit<DraftAnswer, 'spec'> = {
    ...{ id, tools },
    digest: specDigest,
    warnings: notes.map(({ path, message, refused }) => ({ path, message, refused })),
    tags: tags.map((tag) => ({ name: tag.name, tools: tag.tools })),
    expiresAt: timeText(expiresAt),
  }
  const head = JSON.stringify(rest).slice(0, -1)
  return new Response(Buffer.concat([Buffer.from(`${head},"spec":`), spec, Buffer.from('}')]), {
    status,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
  })
}

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

export function logLineJson(line: LogLine): LogLineAnswer {
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
