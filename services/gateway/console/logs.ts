/** REST: what the tools of a server logged, by page and as it happens. */
import { watch } from '@bmm/lib/client'
import { errorFrom, unavailable } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import type { ServerService } from '@bmm/proto/generator/v1/generator_service'
import type { LogService, WatchLogsResponse } from '@bmm/proto/runner/v1/runner_service'
import { Permission } from '@bmm/proto/v1/options'
import { logPageAnswer } from '@bmm/spec/rest-answer'
import type { CallOptions, Client } from '@connectrpc/connect'
import { Elysia } from 'elysia'
import { z } from 'zod'
import type { Arrivals } from '../arrival/arrival.ts'
import { logLineJson, present } from './answer.ts'
import type { People } from './person.ts'
import { serverIdOf } from './server-reference.ts'

const KEEP_ALIVE_MS = 15_000
/** Until the runner says that it follows. */
const FOLLOWED_WITHIN_MS = 10_000
/** A follower signs in anew after this, so that an ended session does not read on for ever. */
const MAX_FOLLOW_MS = 15 * 60_000

export type LogRoutesOptions = {
  logs: Client<typeof LogService>
  servers: Client<typeof ServerService>
  people: People
  arrivals: Arrivals
  log: Log
}

const cursorSchema = z.coerce.number().int().min(0).optional()

export function logRoutes(options: LogRoutesOptions) {
  const { logs, servers, people } = options
  return new Elysia({ name: 'log-routes', prefix: '/v1', normalize: false })
    .get(
      '/servers/:server/logs',
      async ({ request, params, query }) => {
        const person = await people.as(request, ['generator', 'runner'], {
          permissions: [Permission.LOGS_READ],
        })
        const serverId = await serverIdOf(params.server, servers, person)
        const afterSeq = BigInt(query.cursor ?? 0)
        const page = await logs.listLogs({ serverId, afterSeq, limit: query.limit ?? 0 }, person)
        const lines = page.lines.map(logLineJson)
        return { lines, nextCursor: lines.at(-1)?.seq ?? query.cursor ?? 0 }
      },
      {
        query: z.object({
          cursor: cursorSchema.describe('Lines after this one; absent for the newest.'),
          limit: z.coerce.number().int().min(1).max(1_000).optional(),
        }),
        response: { 200: logPageAnswer },
        detail: { summary: 'Log lines, newest last', tags: ['logs'] },
      },
    )
    .get(
      '/servers/:server/logs/follow',
      async ({ request, params, query }) => {
        const person = await people.as(request, ['generator', 'runner'], {
          permissions: [Permission.LOGS_READ],
        })
        const serverId = await serverIdOf(params.server, servers, person)
        const last = Number(request.headers.get('last-event-id') ?? Number.NaN)
        const after = Number.isSafeInteger(last) && last >= 0 ? last : (query.cursor ?? 0)
        const following = await follow(serverId, BigInt(after), person, options)
        const release = options.arrivals.of(request).stayOpen()
        return new Response(eventsOf(following, options.log, release), {
          headers: {
            'content-type': 'text/event-stream',
            'cache-control': 'no-store',
            'x-accel-buffering': 'no',
          },
        })
      },
      {
        query: z.object({ cursor: cursorSchema }),
        detail: {
          summary: 'Follow the log as server-sent events',
          description: 'One `LogLine` as JSON an event, its `seq` as the event’s id.',
          tags: ['logs'],
        },
      },
    )
}

type Following = {
  serverId: string
  lines: AsyncGenerator<WatchLogsResponse>
  /** Aborted when the reader has gone or it is time to sign in anew. */
  signal: AbortSignal
  gone: AbortController
}

/** Resolves when the log is followed; throws what the runner refuses it for, while an answer can still say so. */
async function follow(
  serverId: string,
  afterSeq: bigint,
  person: CallOptions,
  { logs }: LogRoutesOptions,
): Promise<Following> {
  const gone = new AbortController()
  const signal = AbortSignal.any([gone.signal, AbortSignal.timeout(MAX_FOLLOW_MS)])
  const asked = { serverId, afterSeq, announce: true }
  const lines = watch(logs.watchLogs, asked, { ...person, signal })
  const late = setTimeout(() => gone.abort(silent()), FOLLOWED_WITHIN_MS)
  await lines.next().finally(() => clearTimeout(late))
  return { serverId, lines, signal, gone }
}

function silent() {
  return unavailable('runner_silent', 'The runner does not say that it follows. Try again.')
}

/** Only as fast as it is read: what a slow reader leaves waits in Postgres, not in memory here or in the runner. */
function eventsOf(
  { serverId, lines, signal, gone }: Following,
  log: Log,
  release: () => void,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  let keepAlive: ReturnType<typeof setInterval> | undefined
  const end = () => {
    clearInterval(keepAlive)
    release()
  }
  return new ReadableStream({
    start(controller) {
      controller.enqueue(encoder.encode(': following\n\n'))
      keepAlive = setInterval(() => {
        if ((controller.desiredSize ?? 0) > 0) controller.enqueue(encoder.encode(': quiet\n\n'))
      }, KEEP_ALIVE_MS)
    },
    async pull(controller) {
      try {
        const { value, done } = await lines.next()
        if (done !== true) {
          const line = logLineJson(present(value.line))
          controller.enqueue(encoder.encode(`id: ${line.seq}\ndata: ${JSON.stringify(line)}\n\n`))
          return
        }
      } catch (thrown) {
        if (!signal.aborted) {
          log.warn({ fault: errorFrom(thrown).message, serverId }, 'a log broke off')
        }
      }
      end()
      if (!gone.signal.aborted) controller.close()
    },
    cancel() {
      end()
      gone.abort()
    },
  })
}
