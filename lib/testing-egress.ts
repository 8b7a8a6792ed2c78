/** What tests of egress share: upstreams on loopback, requests to them by the name of an API, and refusals. */
import { afterAll } from 'bun:test'
import { type EgressAnswer, type EgressRequest, egressFetch } from './egress.ts'
import { EgressError, type EgressPolicy, publicPolicy } from './egress-policy.ts'
import { type EgressPool, openEgressPool } from './egress-pool.ts'
import { type Answer, type RawUpstream, rawUpstream } from './testing-upstream.ts'

export const okAnswer = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

/** Everything resolves to loopback, and the operator allows api.example.com at any port. */
export const toLoopback: EgressPolicy = publicPolicy({
  resolve: async () => ['127.0.0.1'],
  isTargetAllowed: (host) => host === 'api.example.com',
})

export type TestEgress = {
  pool: EgressPool
  /** It ends with the test file, as the pool does. */
  upstream(answer: Answer): Promise<RawUpstream>
  /** From api.example.com at this port, as `sandbox-1`. */
  get(port: number, request?: Partial<EgressRequest>, path?: string): Promise<EgressAnswer>
}

export function egressOfFile(): TestEgress {
  const pool = openEgressPool()
  const upstreams: RawUpstream[] = []
  afterAll(() => {
    for (const each of upstreams) each.close()
    pool.close()
  })
  return {
    pool,
    async upstream(answer) {
      const opened = await rawUpstream(answer)
      upstreams.push(opened)
      return opened
    },
    get: (port, request = {}, path = '/') =>
      egressFetch(`http://api.example.com:${port}${path}`, {
        policy: toLoopback,
        connections: { pool, key: 'sandbox-1' },
        ...request,
      }),
  }
}

/** The error that the request ended with. */
export async function failure(act: Promise<unknown>): Promise<EgressError> {
  try {
    await act
  } catch (error) {
    if (error instanceof EgressError) return error
    throw error
  }
  throw new Error('there was an answer')
}
