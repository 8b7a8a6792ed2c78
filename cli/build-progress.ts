/** Following a build until it ends: live over the WebSocket, and by asking where that breaks off. */
import { type BuildAnswer, buildAnswer, buildEventAnswer } from '@bmm/spec/rest-answer'
import { ask } from './api.ts'
import { type CommandFault, failed } from './fault.ts'
import { parseJson } from './json.ts'
import { directAddress, type Gateway, hostHeader } from './reach.ts'

const POLL_MS = 200
const TIMEOUT_MS = 10 * 60_000
const finalStates: readonly BuildAnswer['state'][] = ['succeeded', 'failed', 'cancelled']

export type Access = { gateway: Gateway; session: string }

/** The finished build; `onLine` gets a line for each step that ends and each line of its log. */
export async function followBuild(
  buildId: string,
  access: Access,
  onLine: (line: string) => void,
): Promise<BuildAnswer> {
  await watchEvents(buildId, access, onLine)
  const deadline = Date.now() + TIMEOUT_MS
  while (Date.now() < deadline) {
    const build = await ask(access.gateway, `/v1/builds/${buildId}`, buildAnswer, access)
    if (finalStates.includes(build.state)) return build
    await Bun.sleep(POLL_MS)
  }
  throw failed('build_timeout', `The build ${buildId} does not end.`, {
    next: `builds show ${buildId}`,
  })
}

/** Resolves when the socket is closed, for whatever reason: the build itself says how it ended. */
async function watchEvents(
  buildId: string,
  { gateway, session }: Access,
  onLine: (line: string) => void,
): Promise<void> {
  const url = new URL(`/v1/builds/${buildId}/events`, directAddress(gateway))
  url.protocol = 'ws:'
  const closed = Promise.withResolvers<void>()
  const socket = new WebSocket(url.href, {
    headers: { authorization: `Bearer ${session}`, ...hostHeader(gateway) },
  })
  socket.onmessage = ({ data }) => {
    const event = buildEventAnswer.safeParse(parseJson(String(data))).data
    if (event?.line !== undefined) onLine(`  ${event.line}`)
    else if (event?.step !== undefined && event.state !== undefined && event.state !== 'running') {
      onLine(`${event.step} ${event.state} (${event.elapsedMs} ms)`)
    }
  }
  socket.onclose = () => closed.resolve()
  socket.onerror = () => closed.resolve()
  const timer = setTimeout(() => socket.close(), TIMEOUT_MS)
  await closed.promise
  clearTimeout(timer)
}

/** What ends a command whose build did not succeed. */
export function buildFault({ id, state, reason, message }: BuildAnswer): CommandFault {
  return failed(
    reason === '' ? `build_${state}` : reason,
    `The build ${state}: ${message || 'without a message'}`,
    { next: `builds show ${id}` },
  )
}

/** Milliseconds of each step. */
export function stepTimes(build: BuildAnswer): Record<string, number> {
  return Object.fromEntries(build.steps.map(({ step, elapsedMs }) => [step, elapsedMs]))
}
