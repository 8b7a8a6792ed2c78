/** From a document of 20 operations to the first answered call, sign-in of the client included. */

import type { Platform } from '@bmm/tests/platform'
import { type Figure, median, milliseconds } from './figure.ts'
import { timedCall } from './tool-call.ts'

const ROUNDS = 7
const OPERATIONS = 20

/** The called API runs here, on a port that the operator allows as anyone would. */
export async function measureFirstCall(platform: Platform): Promise<Figure[]> {
  await using api = startApi()
  await platform.stack.run('targets', 'allow', api.target, '--everyone')
  const drafted: number[] = []
  const served: number[] = []
  const permitted: number[] = []
  const total: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const begun = performance.now()
    const draft = await platform.draft({ document: api.document })
    drafted.push(performance.now() - begun)
    const url = await platform.serve(draft, `bench-first-${round}`)
    served.push(performance.now() - begun)
    const token = await platform.token(url, platform.builder)
    permitted.push(performance.now() - begun)
    const call = { tool: 'getThing7', input: { id: 'x' }, expected: 'thing7' }
    await timedCall(url, token, call)
    total.push(performance.now() - begun)
  }
  const steps = [drafted, served, permitted].map((values) => milliseconds(median(values)))
  return [
    {
      what: `document (${OPERATIONS} operations) to the first answered call, ${ROUNDS} times: p50`,
      value: `${milliseconds(median(total))} (drafted ${steps[0]}, live ${steps[1]}, token ${steps[2]})`,
      target: '≤ 400 ms',
    },
  ]
}

function startApi() {
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch: (request) => Response.json({ path: new URL(request.url).pathname }),
  })
  const target = `127.0.0.1:${server.port}`
  return {
    target,
    document: JSON.stringify(documentOf(`http://${target}`)),
    async [Symbol.asyncDispose]() {
      await server.stop(true)
    },
  }
}

/** A document of 20 operations on this origin. */
export function documentOf(origin: string) {
  const numbers = Array.from({ length: OPERATIONS }, (_, index) => index)
  return {
    openapi: '3.1.0',
    info: { title: 'Things', version: '1' },
    servers: [{ url: origin }],
    paths: Object.fromEntries(
      numbers.map((number) => [
        `/thing${number}/{id}`,
        {
          get: {
            operationId: `getThing${number}`,
            summary: `Reads thing ${number}`,
            parameters: [
              { name: 'id', in: 'path', required: true, schema: { type: 'string' } },
              { name: 'limit', in: 'query', schema: { type: 'integer', minimum: 1 } },
            ],
            responses: { 200: { description: 'The thing' } },
          },
        },
      ]),
    ),
  }
}
