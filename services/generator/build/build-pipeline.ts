/** The six steps of a build. Each can be repeated; nothing of an earlier attempt is trusted but what is signed. */
import type { Sql } from '@bmm/lib/sql'
import { digestOf } from '@bmm/spec/digest'
import type { ServeStatement, SignedStatement } from '@bmm/spec/statement'
import { buildSpecBytes, CodeError, type Resolved, type SpecBuild } from '../code/code.ts'
import type { StartChild } from '../disposable.ts'
import {
  type Downstream,
  insist,
  type Patience,
  refusalReason,
  type StatementCheck,
  signedOf,
} from '../downstream.ts'
import { refusalOf } from '../scan/finding.ts'
import {
  findServer,
  findVersion,
  putModule,
  setLive,
  type VersionRow,
} from '../server/server-store.ts'
import { putServing } from '../server/serving-store.ts'
import { BuildFailure, BuildLetGo, type BuildStep } from './build.ts'
import type { BuildRecord } from './build-record.ts'
import { type BuildRow, beginDeploy } from './build-store.ts'

const TRY_TIMEOUT_MS = 60_000
const SIGN_TIMEOUT_MS = 15_000
const DEPLOY_TIMEOUT_MS = 60_000
/** Findings in the log of a build; the first one is its reason. */
const MAX_SHOWN_FINDINGS = 20

export type PipelineOptions = {
  sql: Sql
  downstream: Pick<Downstream, 'statements' | 'deployments'>
  check: StatementCheck
  /** How long a step waits for a service that is away. */
  patienceMs: number
  /** Where the children come from that read the spec. */
  startCodeChild: StartChild
}

export type Pipeline = {
  build: BuildRow
  owner: string
  record: BuildRecord
  signal: AbortSignal
}

type Signed = { statement: SignedStatement; epoch: bigint }

type Found = { version: VersionRow; spec: SpecBuild }
/** Tells something of the step under way; it stands below the step once that has succeeded. */
type Say = (line: string) => void

/** Runs what is left of a build to its success. Throws BuildFailure or BuildLetGo. */
export async function runPipeline(options: PipelineOptions, pipeline: Pipeline): Promise<void> {
  const { record } = pipeline
  const reading = new AbortController()
  const signal = AbortSignal.any([pipeline.signal, reading.signal])
  try {
    const { version, spec } = await step(pipeline, 'resolve', (say) =>
      resolve(options, { ...pipeline, signal }, say),
    )
    await step(pipeline, 'scan', (say) => scan(pipeline, spec, say))
    const module = await step(pipeline, 'compile', (say) => compile(options, version, spec, say))
    if (!record.isDone('try')) {
      await step(pipeline, 'try', (say) => tryVersion(options, pipeline, version, module, say))
    }
    const signed = await step(pipeline, 'sign', (say) =>
      sign(options, pipeline, version, module, say),
    )
    await deploy(options, pipeline, version, module, signed)
  } finally {
    // A build that failed leaves no child at work.
    reading.abort()
  }
}

const nextSteps: Partial<Record<BuildStep, BuildStep>> = {
  resolve: 'scan',
  scan: 'compile',
  compile: 'try',
  try: 'sign',
}

/** A step that an earlier worker finished is repeated without a word: its result is needed again. */
async function step<Result>(
  { record, signal }: Pipeline,
  name: BuildStep,
  work: (say: Say) => Promise<Result>,
): Promise<Result> {
  signal.throwIfAborted()
  const isRepeated = record.isDone(name)
  if (!isRepeated && record.step() !== name) await record.begin(name)
  const lines: string[] = []
  try {
    const result = await work((line) => lines.push(line))
    signal.throwIfAborted()
    const next = nextSteps[name]
    const begun = next === undefined || record.isDone(next) ? undefined : next
    if (!isRepeated) await record.succeed(name, lines, begun)
    return result
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof CodeError) {
      throw new BuildFailure(codeReasons[name] ?? 'spec_invalid', error.message)
    }
    throw error
  }
}

const codeReasons: Partial<Record<BuildStep, string>> = {
  scan: 'scan_failed',
  compile: 'compile_failed',
}

async function resolve(
  { sql, startCodeChild }: PipelineOptions,
  { build, signal }: Pipeline,
  say: Say,
): Promise<Found> {
  const version = await findVersion(sql, build.serverId, build.version)
  if (version === undefined) throw new BuildFailure('server_deleted', 'The server was deleted.')
  if (digestOf(version.spec) !== version.specDigest) {
    throw new BuildFailure('version_tampered', 'The stored spec is not the one that was confirmed.')
  }
  const spec = buildSpecBytes(version.spec, { signal, start: startCodeChild })
  say(described(await spec.resolved()))
  return { version, spec }
}

function described({ tools, codeTools, origins, credentials }: Resolved): string {
  const reach = origins.length === 0 ? 'no origin' : origins.join(', ')
  const needs = credentials.length === 0 ? 'none' : credentials.join(', ')
  return `${tools} tools (${codeTools} with code), reaching ${reach}; credentials: ${needs}`
}

async function scan({ record }: Pipeline, spec: SpecBuild, say: Say): Promise<void> {
  const findings = await spec.findings()
  const refusal = refusalOf(findings)
  if (refusal !== undefined) {
    for (const { rule, path, message } of findings.slice(0, MAX_SHOWN_FINDINGS)) {
      await record.line(`${rule} at ${path}: ${message}`)
    }
    const { path, message } = refusal.finding
    throw new BuildFailure(refusal.reason, `${path}: ${message}`)
  }
  say('nothing found')
}

async function compile(
  { sql }: PipelineOptions,
  { serverId }: VersionRow,
  spec: SpecBuild,
  say: Say,
): Promise<Uint8Array> {
  const module = await spec.module()
  await putModule(sql, serverId, digestOf(module), module)
  // The digest of no bytes tells nobody anything.
  if (module.length === 0) say('every tool is an operation')
  else say(`${module.length} bytes, ${digestOf(module)}`)
  return module
}

async function tryVersion(
  { downstream, patienceMs }: PipelineOptions,
  pipeline: Pipeline,
  { spec }: VersionRow,
  module: Uint8Array,
  say: Say,
): Promise<void> {
  const { signal } = pipeline
  const answer = await asked('The runner', pipeline, patienceMs, () =>
    downstream.deployments.tryVersion({ spec, module }, { signal, timeoutMs: TRY_TIMEOUT_MS }),
  )
  if (!answer.ok) throw new BuildFailure('try_failed', answer.message)
  say(`every tool was found in ${answer.elapsedMs} ms`)
}

async function sign(
  { sql, downstream, check, patienceMs }: PipelineOptions,
  pipeline: Pipeline,
  version: VersionRow,
  module: Uint8Array,
  say: Say,
): Promise<Signed> {
  const { build, signal } = pipeline
  const moduleDigest = digestOf(module)
  const { confirmationId, version: number } = version
  const answer = await asked('The signer', pipeline, patienceMs, () =>
    downstream.statements.signServe(
      { confirmationId, version: number, moduleDigest },
      { signal, timeoutMs: SIGN_TIMEOUT_MS },
    ),
  )
  const statement = signedOf(answer.statement)
  const server = await findServer(sql, build.orgId, build.serverId)
  const opened = await asked('The signer', pipeline, patienceMs, () => check.open(statement))
  const expected = { ...version, moduleDigest, resourceUrl: server?.resourceUrl ?? '' }
  if (opened === undefined || !says(opened, build.orgId, expected)) {
    throw new BuildFailure('version_tampered', 'The signed statement is not about this version.')
  }
  say(`statement of epoch ${answer.epoch}`)
  return { statement, epoch: answer.epoch }
}

/** Whether a statement is about exactly this. */
export function says(
  statement: ServeStatement,
  orgId: string,
  expected: Pick<VersionRow, 'serverId' | 'version' | 'specDigest'> & {
    moduleDigest: string
    resourceUrl: string
  },
): boolean {
  return (
    statement.orgId === orgId &&
    statement.serverId === expected.serverId &&
    statement.version === expected.version &&
    statement.specDigest === expected.specDigest &&
    statement.moduleDigest === expected.moduleDigest &&
    statement.resourceUrl === expected.resourceUrl
  )
}

async function deploy(
  { sql, downstream, patienceMs }: PipelineOptions,
  pipeline: Pipeline,
  version: VersionRow,
  module: Uint8Array,
  { statement, epoch }: Signed,
): Promise<void> {
  const { build, owner, record, signal } = pipeline
  signal.throwIfAborted()
  // From here on nobody cancels; whoever asked before is served before anything is deployed.
  if (!(await beginDeploy(sql, build.id, owner))) throw new BuildLetGo('cancelled')
  if (record.step() !== 'deploy') await record.begin('deploy')
  const { spec } = version
  await asked('The runner', pipeline, patienceMs, () =>
    downstream.deployments.deploy(
      { statement, spec, module },
      { signal, timeoutMs: DEPLOY_TIMEOUT_MS },
    ),
  )
  await record.succeedBuild(['deployed'], async (transaction) => {
    const { serverId, version: number, name } = version
    if (!(await setLive(transaction, serverId, ['building', 'live', 'failed'], number, name))) {
      throw new BuildFailure('server_stopped', 'The server was paused or deleted meanwhile.')
    }
    await putServing(transaction, serverId, epoch, statement)
  })
}

/** Asks another service, patiently; its refusals fail the build with its own reason. */
async function asked<Answer>(
  who: string,
  { record, signal }: Pipeline,
  patienceMs: number,
  call: () => Promise<Answer>,
): Promise<Answer> {
  const patience: Patience = {
    signal,
    patienceMs,
    onPause: () => record.line(`${who} does not answer; trying again.`),
  }
  try {
    return await insist(call, patience)
  } catch (error) {
    signal.throwIfAborted()
    const reason = refusalReason(error)
    if (reason === undefined) {
      throw new BuildFailure('unavailable', `${who} does not answer. Build again in a moment.`)
    }
    throw new BuildFailure(reason, `${who} refused: ${error instanceof Error ? error.message : ''}`)
  }
}
