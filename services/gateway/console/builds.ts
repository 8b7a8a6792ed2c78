/** REST: builds, and their events over one WebSocket. */
import { watch } from '@bmm/lib/client'
import { errorFrom } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import type { BuildService } from '@bmm/proto/generator/v1/generator_service'
import { BuildState, BuildStep } from '@bmm/proto/generator/v1/server'
import { Permission } from '@bmm/proto/v1/options'
import { buildAnswer } from '@bmm/spec/rest-answer'
import type { CallOptions, Client } from '@connectrpc/connect'
import { Elysia } from 'elysia'
import { z } from 'zod'
import { sessionOf } from '../access/session-cookie.ts'
import type { Arrivals, SocketEvents } from '../arrival/arrival.ts'
import { problem } from '../problem.ts'
import type { Servings } from '../serving/serving.ts'
import { buildEventJson, buildJson } from './answer.ts'
import type { People } from './person.ts'

export type BuildRoutesOptions = {
  builds: Client<typeof BuildService>
  people: People
  arrivals: Arrivals
  servings: Pick<Servings, 'hint'>
  log: Log
}

const afterSchema = z.object({ after: z.coerce.number().int().min(0).optional() })

export function buildRoutes(options: BuildRoutesOptions) {
  const { builds, people } = options
  return new Elysia({ name: 'build-routes', prefix: '/v1', normalize: false })
    .get(
      '/builds/:build',
      async ({ request, params }) => {
        const person = await people.as(request, ['generator'], {
          permissions: [Permission.SERVERS_READ],
        })
        return buildJson((await builds.getBuild({ buildId: params.build }, person)).build)
      },
      { response: { 200: buildAnswer }, detail: { summary: 'A build', tags: ['builds'] } },
    )
    .post(
      '/builds/:build/cancel',
      async ({ request, params }) => {
        const person = await people.as(request, ['generator'], {
          permissions: [Permission.SERVERS_WRITE],
        })
        return buildJson((await builds.cancelBuild({ buildId: params.build }, person)).build)
      },
      {
        parse: 'none',
        response: { 200: buildAnswer },
        detail: { summary: 'Cancel a build that has not deployed', tags: ['builds'] },
      },
    )
    .post(
      '/builds/:build/retry',
      async ({ request, params }) => {
        const person = await people.as(request, ['generator'], {
          permissions: [Permission.SERVERS_WRITE],
        })
        return buildJson((await builds.retryBuild({ buildId: params.build }, person)).build)
      },
      {
        parse: 'none',
        response: { 200: buildAnswer },
        detail: { summary: 'Build a version that did not succeed again', tags: ['builds'] },
      },
    )
    .get(
      '/builds/:build/events',
      ({ request, params, query }) =>
        followBuild(request, params.build, BigInt(query.after ?? 0), options),
      {
        query: afterSchema,
        detail: {
          summary: 'Follow a build over a WebSocket',
          description: 'One `BuildEvent` as JSON a message; closes with 1000 when the build ends.',
          tags: ['builds'],
        },
      },
    )
}

/** Session, organisation and Origin are checked before the upgrade: a refusal is a plain HTTP answer. */
async function followBuild(
  request: Request,
  buildId: string,
  afterSeq: bigint,
  options: BuildRoutesOptions,
): Promise<Response> {
  const { builds, people, arrivals } = options
  if (sessionOf(request).kind === 'cookie' && request.headers.get('origin') === null) {
    throw problem(403, 'origin_refused', 'A WebSocket with a cookie must say its Origin.')
  }
  const person = await people.as(request, ['generator'], { permissions: [Permission.SERVERS_READ] })
  await builds.getBuild({ buildId }, person)
  const upgraded = arrivals.of(request).upgrade(buildSocket(buildId, afterSeq, person, options))
  if (upgraded) return new Response(null)
  throw problem(426, 'upgrade_required', 'Build events are a WebSocket.')
}

function buildSocket(
  buildId: string,
  afterSeq: bigint,
  person: CallOptions,
  options: BuildRoutesOptions,
): SocketEvents {
  const { builds, log, servings } = options
  const gone = new AbortController()
  return {
    close: () => gone.abort(),
    async open(socket) {
      try {
        const events = watch(
          builds.watchBuild,
          { buildId, afterSeq },
          { ...person, signal: gone.signal },
        )
        for await (const { event } of events) {
          if (event === undefined) continue
          // Whoever hears that a build succeeded may call the server at once.
          const whole = event.step === BuildStep.UNSPECIFIED
          if (whole && event.state === BuildState.SUCCEEDED) await servings.hint()
          socket.send(JSON.stringify(buildEventJson(event)))
        }
        socket.close(1000, 'The build has ended.')
      } catch (thrown) {
        if (gone.signal.aborted) return
        log.warn({ fault: errorFrom(thrown).message, buildId }, 'a build cannot be followed')
        socket.close(1011, 'The events broke off. Connect again.')
      }
    },
  }
}
