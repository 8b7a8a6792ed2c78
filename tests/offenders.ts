/** Tenants that take whatever they are not refused: one flooded, one that spins, one silent, one that streams, one that floods frames. */
import { pause } from '@bmm/lib/pause'
import type { ServerSpec } from '@bmm/spec/server-spec'
import type { Person, Platform } from './platform.ts'

/** What one person may have running (services/gateway/limits/in-flight.ts), and ten times that. */
const LIMIT_AT_ONCE = 64
const FLOOD = 10 * LIMIT_AT_ONCE
/** A client that is refused comes back after what `Retry-After` says. */
const REFUSED_PAUSE_MS = 1_000
const ENDED_PAUSE_MS = 50
/** Calls of the silent and the streaming one at a time. */
const HELD = 16

const tools = {
  slow: 'await new Promise((resolve) => setTimeout(resolve, 1000)); return 1',
  spin: 'for (;;) {}',
  silent: 'await new Promise(() => {})',
  stream: `
    for (let step = 0; ; step++) {
      ctx.progress(step, undefined, 'x'.repeat(1000))
      await new Promise((resolve) => setTimeout(resolve, 0))
    }`,
  frames: `
    const line = 'x'.repeat(8000)
    for (let step = 0; ; step++) {
      for (let burst = 0; burst < 100; burst++) {
        ctx.log(line)
        ctx.fetch('https://refused.example.com/').catch(() => {})
      }
      await new Promise((resolve) => setTimeout(resolve, 0))
    }`,
} as const
export type Offence = keyof typeof tools

/**
 * Clients are on other machines: these take no processor time from those who are measured. A kernel that groups by
 * session compares sessions by a file of its own, and nobody's niceness outside of them.
 */
const elsewhere = [
  ...['setpriv', '--pdeathsig', 'SIGTERM', 'nice', '-n', '19', 'sh', '-c'],
  'if [ -e /proc/self/autogroup ]; then echo 19 > /proc/self/autogroup; fi; exec "$@"',
  'offenders',
]

/** A server with one offence, and an honest tool beside it. */
function offenderSpec(offence: Offence): ServerSpec {
  const annotations = {
    readOnlyHint: true,
    destructiveHint: false,
    idempotentHint: true,
    openWorldHint: false,
  }
  const inputSchema = { type: 'object', properties: {} } as const
  return {
    specVersion: 1,
    name: `Offender ${offence}`,
    description: 'Takes what it can get.',
    tools: [
      {
        name: offence,
        description: 'Takes what it can get.',
        inputSchema,
        implementation: tools[offence],
        annotations,
        examples: [],
      },
    ],
    credentials: [],
    egress: [],
  }
}

export type Offender = { offence: Offence; url: string; token: string }

export type Offenders = {
  /** Lets them begin, in a process of their own. */
  begin(): {
    /** Whether of the flood some was served and some was refused by now. */
    isFlooding(): boolean
    /** Ends it and says how their calls were answered. */
    end(): Promise<Record<string, number>>
  }
}

const atOnce: Record<Offence, number> = {
  slow: FLOOD,
  spin: 2,
  silent: HELD,
  stream: HELD,
  frames: 2,
}

/** Serves all of them, for an organisation of their own; each has a person of its own who calls it. */
export async function openOffenders(platform: Platform): Promise<Offenders> {
  const ready: Offender[] = []
  for (const offence of Object.keys(tools) as Offence[]) {
    const draft = await platform.draft({ spec: offenderSpec(offence) })
    const url = await platform.serve(draft, `offender-${offence}`)
    const person: Person = platform.person(`offender-${offence}@example.com`)
    ready.push({ offence, url, token: await platform.token(url, person) })
  }
  return {
    begin() {
      const command = [process.execPath, '--no-env-file', import.meta.path]
      const child = Bun.spawn([...elsewhere, ...command], {
        detached: true,
        stdin: new Blob([JSON.stringify(ready)]),
        stdout: 'pipe',
        stderr: 'inherit',
      })
      let said = ''
      const reading = (async () => {
        for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) said += text
      })()
      return {
        isFlooding: () => said.includes('\n'),
        async end() {
          child.kill('SIGTERM')
          await reading
          return JSON.parse(said)
        },
      }
    },
  }
}

if (import.meta.main) {
  const offenders: Offender[] = await Bun.stdin.json()
  const ending = new AbortController()
  process.once('SIGTERM', () => ending.abort())
  process.stdout.write(JSON.stringify(await offendAll(offenders, ending.signal)))
  process.exit(0)
}

async function offendAll(
  offenders: readonly Offender[],
  signal: AbortSignal,
): Promise<Record<string, number>> {
  const seen: Record<string, number> = {}
  const loops = offenders.flatMap(({ offence, url, token }) =>
    Array.from({ length: atOnce[offence] }, async () => {
      while (!signal.aborted) {
        const status = await offend(offence, url, token, signal)
        const key = `${offence} ${status}`
        const isNew = seen[key] === undefined
        seen[key] = (seen[key] ?? 0) + 1
        if (isNew && seen['slow 200'] && seen['slow 429'] && key.startsWith('slow')) {
          process.stdout.write('\n')
        }
        await pause(status === 429 ? REFUSED_PAUSE_MS : ENDED_PAUSE_MS, signal)
      }
    }),
  )
  await Promise.all(loops)
  return seen
}

/** The status, or what ended it; a stream is read as it comes. */
async function offend(
  tool: Offence,
  url: string,
  token: string,
  signal: AbortSignal,
): Promise<number | string> {
  try {
    const answer = await fetch(url, {
      method: 'POST',
      signal,
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': '2025-11-25',
      },
      body: JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: { name: tool, arguments: {}, _meta: { progressToken: 1 } },
      }),
    })
    for await (const _part of answer.body ?? []);
    return answer.status
  } catch {
    return signal.aborted ? 'ended' : 'broken off'
  }
}
