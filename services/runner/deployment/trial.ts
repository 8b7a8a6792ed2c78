/** Trying a version: a sandbox that nobody is assigned to loads it, is asked what it found, and is thrown away. */
import { errorFrom, limited, unavailable } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import { CallFailure } from '../calls/call-failure.ts'
import type { Pool } from '../fleet/pool.ts'
import { LoadFailed, type Sandbox } from '../sandbox/sandbox.ts'
import type { TryOutcome } from '../service.ts'
import { type Artefacts, loadArtefact, parsedSpec } from './deployment.ts'

const MAX_TRIALS = 2
const MAX_WAITING = 50
const TRIAL_TIMEOUT_MS = 30_000
/** Trials stand in the line for sandboxes as one organisation of their own. */
const TRIAL_ORG = 'trials'
const MAX_MESSAGE = 2_000
const REHEARSAL_TIMEOUT_MS = 5_000

/** Answers what is wrong as a sentence, or an empty message. Throws `spec_invalid`, `no_sandbox` and
 * `too_many_trials`. */
export function createTrials(pool: Pool) {
  let running = 0
  const waiting: (() => void)[] = []

  async function enter(): Promise<void> {
    if (running < MAX_TRIALS) running++
    else if (waiting.length >= MAX_WAITING) {
      throw limited('too_many_trials', 'Too many builds try their code at once.', {
        retryAfterSeconds: 10,
      })
    } else await new Promise<void>((resolve) => waiting.push(resolve))
  }
  function leave() {
    const next = waiting.shift()
    if (next === undefined) running--
    else next()
  }

  return async ({ spec, module }: Artefacts, signal: AbortSignal): Promise<TryOutcome> => {
    const { tools } = parsedSpec(spec)
    await enter()
    const startedAt = performance.now()
    let sandbox: Sandbox | undefined
    try {
      const timeout = AbortSignal.timeout(TRIAL_TIMEOUT_MS)
      sandbox = await pool.take(TRIAL_ORG, AbortSignal.any([signal, timeout]))
      const found = new Set(await sandbox.load(loadArtefact(tools, module)))
      const missing = tools.map((tool) => tool.name).filter((name) => !found.has(name))
      return {
        message: missing.length === 0 ? '' : `These tools are missing: ${missing.join(', ')}.`,
        elapsedMs: performance.now() - startedAt,
      }
    } catch (error) {
      if (error instanceof CallFailure) throw unavailable('no_sandbox', error.message)
      // The pool has logged why none could be started.
      if (sandbox === undefined) throw unavailable('no_sandbox', 'No sandbox could be started.')
      if (!(error instanceof LoadFailed)) throw error
      const message = `The code could not be loaded: ${error.message}`.slice(0, MAX_MESSAGE)
      return { message, elapsedMs: performance.now() - startedAt }
    } finally {
      sandbox?.stop()
      // Whoever asked need not wait for the slot to be emptied; the next trial does.
      if (sandbox === undefined) leave()
      else void sandbox.gone.then(leave, leave)
    }
  }
}

/** One whole call in a throw-away sandbox: the first one of a process costs ten times the next. */
export async function rehearse(pool: Pool, log: Log): Promise<void> {
  const text = (value: string) => new TextEncoder().encode(value)
  let sandbox: Sandbox | undefined
  try {
    sandbox = await pool.take(TRIAL_ORG, AbortSignal.timeout(TRIAL_TIMEOUT_MS))
    const loading = sandbox.load({
      tools: text('[{"name":"rehearsal","inputSchema":{"type":"object"}}]'),
      module: text('export const tools = { rehearsal: async () => 1 }'),
    })
    await loading
    const done = Promise.withResolvers<void>()
    const ignore = () => {}
    sandbox.call({ tool: 'rehearsal', timeoutMs: REHEARSAL_TIMEOUT_MS }, text('{}'), {
      ...{ part: ignore, progress: ignore, log: ignore, end: () => done.resolve() },
      fail: (code, message) => done.reject(new Error(`${code}: ${message}`)),
    })
    await done.promise
  } catch (error) {
    log.warn({ err: errorFrom(error) }, 'the first call of this process failed')
  } finally {
    sandbox?.stop()
  }
}
