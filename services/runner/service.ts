/** The runner's RPCs: trying, deploying and stopping versions, and reading what they logged. */
import { notFound } from '@bmm/lib/errors'
import { userOf } from '@bmm/lib/identity'
import {
  DeploymentService,
  type LogLineSchema,
  LogService,
} from '@bmm/proto/runner/v1/runner_service'
import { StatsService } from '@bmm/proto/runner/v1/stats_service'
import type { SignedStatement as SignedStatementMessage } from '@bmm/proto/v1/statement'
import type { SignedStatement } from '@bmm/spec/statement'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import type { ConnectRouter, ServiceImpl } from '@connectrpc/connect'
import type { Artefacts } from './deployment/deployment.ts'
import type { Deployments } from './deployment/deployments.ts'
import { type StatsServiceOptions, statsService } from './metering/stats-service.ts'
import type { RunLines } from './run-log/run-lines.ts'
import type { StoredRunLine } from './store.ts'

/** How a try ended; the message is empty when every tool was there. */
export type TryOutcome = {
  message: string
  elapsedMs: number
}

export type RunnerServiceOptions = Omit<StatsServiceOptions, 'requireServer'> & {
  deployments: Deployments
  runLines: RunLines
  tryVersion: (artefacts: Artefacts, signal: AbortSignal) => Promise<TryOutcome>
}

export function runnerRoutes(options: RunnerServiceOptions): (router: ConnectRouter) => void {
  /** The permission is for the organisation of the server; a foreign server looks like none. */
  function requireServer(serverId: string, orgId: string): void {
    if (options.deployments.find(serverId)?.statement.orgId === orgId) return
    throw notFound('server_not_found', 'There is no such server, or it has never run.')
  }
  return (router) => {
    router.service(DeploymentService, deploymentService(options))
    router.service(LogService, logService(options.runLines, requireServer))
    router.service(StatsService, statsService({ ...options, requireServer }))
  }
}

function deploymentService(options: RunnerServiceOptions): ServiceImpl<typeof DeploymentService> {
  const { deployments, tryVersion } = options
  return {
    async tryVersion({ spec, module }, context) {
      const { message, elapsedMs } = await tryVersion({ spec, module }, context.signal)
      return { ok: message === '', message, elapsedMs: BigInt(Math.round(elapsedMs)) }
    },
    async deploy({ statement, spec, module }) {
      await deployments.deploy(signedFromMessage(statement), { spec, module })
      return {}
    },
    async stop({ statement }) {
      return { sandboxesEnded: await deployments.stop(signedFromMessage(statement)) }
    },
  }
}

function logService(
  runLines: RunLines,
  requireServer: StatsServiceOptions['requireServer'],
): ServiceImpl<typeof LogService> {
  return {
    async listLogs({ serverId, afterSeq, limit }, context) {
      const { orgId } = userOf(context)
      requireServer(serverId, orgId)
      const lines = await runLines.list({ serverId, orgId }, afterSeq, limit)
      return { lines: lines.map(lineMessage) }
    },
    async *watchLogs({ serverId, afterSeq, announce }, context) {
      const { orgId } = userOf(context)
      requireServer(serverId, orgId)
      for await (const line of runLines.follow({ serverId, orgId }, afterSeq, context.signal)) {
        if (line !== 'following') yield { line: lineMessage(line) }
        else if (announce) yield {}
      }
    },
  }
}

function lineMessage(line: StoredRunLine): MessageInitShape<typeof LogLineSchema> {
  const { seq, level, tool, message, requestId } = line
  return { seq, at: timestampFromDate(line.at), level, tool, message, requestId }
}

/** Validation has already refused a request without a statement. */
function signedFromMessage(message: SignedStatementMessage | undefined): SignedStatement {
  if (message === undefined) throw new Error('a request without a statement passed validation')
  const { bytes, signature, keyId } = message
  return { bytes, signature, keyId }
}
