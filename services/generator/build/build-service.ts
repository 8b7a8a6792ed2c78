/** The RPCs of builds: who calls, decode, domain, encode. */
import { notFound, precondition } from '@bmm/lib/errors'
import { type UserClaims, userOf } from '@bmm/lib/identity'
import { newId } from '@bmm/lib/ids'
import { inTransaction, type Sql } from '@bmm/lib/sql'
import type { BuildService } from '@bmm/proto/generator/v1/generator_service'
import {
  type BuildEventSchema,
  type BuildSchema,
  BuildState,
  BuildStep,
} from '@bmm/proto/generator/v1/server'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import type { ServiceImpl } from '@connectrpc/connect'
import type { Hints } from '../hints.ts'
import { moveServer, setLatestBuild } from '../server/server-store.ts'
import { isFinished, type BuildState as State, type BuildStep as Step } from './build.ts'
import { type EnqueueOptions, enqueue, refuseManyBuilds } from './build-queue.ts'
import * as store from './build-store.ts'
import type { BuildWatch } from './build-watch.ts'

export type BuildServiceOptions = EnqueueOptions & { sql: Sql; hints: Hints; watch: BuildWatch }

export function buildService(options: BuildServiceOptions): ServiceImpl<typeof BuildService> {
  const { sql, hints, watch } = options
  return {
    async getBuild({ buildId }, context) {
      return { build: await encodeBuild(sql, await getBuild(sql, userOf(context), buildId)) }
    },
    async cancelBuild({ buildId }, context) {
      const user = userOf(context)
      await cancelBuild(sql, user, buildId)
      hints.buildStep(buildId)
      return { build: await encodeBuild(sql, await getBuild(sql, user, buildId)) }
    },
    async retryBuild({ buildId }, context) {
      const user = userOf(context)
      const again = await retryBuild(sql, user, buildId)
      await enqueue(options, again)
      return { build: await encodeBuild(sql, await getBuild(sql, user, again)) }
    },
    async *watchBuild({ buildId, afterSeq }, context) {
      const build = await getBuild(sql, userOf(context), buildId)
      for await (const event of watch(build, afterSeq, context.signal)) {
        yield { event: encodeEvent(event) }
      }
    },
  }
}

/** Throws `build_not_found`. */
export async function getBuild(
  sql: Sql,
  { orgId }: UserClaims,
  buildId: string,
): Promise<store.BuildRow> {
  const build = await store.findBuild(sql, orgId, buildId)
  if (build === undefined) throw buildNotFound()
  return build
}

export async function encodeBuild(
  sql: Sql,
  build: store.BuildRow,
): Promise<MessageInitShape<typeof BuildSchema>> {
  const { id, serverId, version, reason, message } = build
  const steps = await store.listSteps(sql, id)
  return {
    id,
    serverId,
    version,
    state: states[build.state],
    steps: steps.map(({ step, state, elapsedMs }) => ({
      step: stepNumbers[step],
      state: states[state],
      elapsedMs: BigInt(Math.round(elapsedMs)),
    })),
    reason,
    message,
    createdAt: timestampFromDate(build.createdAt),
  }
}

/** A waiting build ends at once; a running one is told, and ends within a second. */
async function cancelBuild(sql: Sql, { orgId }: UserClaims, buildId: string): Promise<void> {
  await inTransaction(sql, async (transaction) => {
    const build = await store.lockBuild(transaction, orgId, buildId)
    if (build === undefined) throw buildNotFound()
    if (isFinished(build.state)) throw finished('The build has finished.')
    if (build.deploying) throw finished('The build is being deployed.')
    const end = { state: 'cancelled', reason: 'cancelled', message: 'Cancelled.' } as const
    if (build.state === 'queued' && (await store.finishBuild(transaction, buildId, null, end))) {
      await store.appendEvent(transaction, buildId, { state: 'cancelled', line: end.message })
      await moveServer(transaction, build.serverId, ['building'], 'failed')
    } else await store.requestCancel(transaction, buildId)
  })
}

/** The id of a new build of the same version. Its confirmation is used once, or again for the same statement. */
async function retryBuild(sql: Sql, { orgId, userId }: UserClaims, buildId: string) {
  return inTransaction(sql, async (transaction) => {
    const build = await store.lockBuild(transaction, orgId, buildId)
    if (build === undefined) throw buildNotFound()
    await refuseManyBuilds(transaction, orgId)
    const { serverId, version, state } = build
    const mayRetry = state === 'failed' || state === 'cancelled'
    const id = newId('bld')
    const isTaken =
      mayRetry &&
      (await store.isLatestBuild(transaction, build)) &&
      (await setLatestBuild(transaction, serverId, id))
    if (!isTaken) {
      throw precondition(
        'build_not_retryable',
        "Only the newest build of a server can be repeated, when it didn't succeed.",
      )
    }
    await store.insertBuild(transaction, { id, serverId, orgId, version, createdBy: userId })
    await store.appendEvent(transaction, id, { state: 'queued', elapsedMs: 0 })
    return id
  })
}

function buildNotFound() {
  return notFound('build_not_found', 'There is no such build.')
}

function finished(message: string) {
  return precondition('build_finished', message)
}

const states: Record<State, BuildState> = {
  queued: BuildState.QUEUED,
  running: BuildState.RUNNING,
  succeeded: BuildState.SUCCEEDED,
  failed: BuildState.FAILED,
  cancelled: BuildState.CANCELLED,
}

const stepNumbers: Record<Step, BuildStep> = {
  resolve: BuildStep.RESOLVE,
  scan: BuildStep.SCAN,
  compile: BuildStep.COMPILE,
  try: BuildStep.TRY,
  sign: BuildStep.SIGN,
  deploy: BuildStep.DEPLOY,
}

function encodeEvent(event: store.EventRow): MessageInitShape<typeof BuildEventSchema> {
  const { seq, step, state, elapsedMs, line, at } = event
  return {
    seq: BigInt(seq),
    step: step === '' ? BuildStep.UNSPECIFIED : stepNumbers[step],
    state: state === '' ? BuildState.UNSPECIFIED : states[state],
    elapsedMs: BigInt(Math.round(elapsedMs)),
    line,
    at: timestampFromDate(at),
  }
}
