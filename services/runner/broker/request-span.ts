/** The span of one request to the outside: method, confirmed host and outcome, never its path, headers or body. */
import type { EgressAnswer } from '@bmm/lib/egress'
import { errorFrom } from '@bmm/lib/errors'
import type { Tracing } from '@bmm/lib/tracing'
import type { Contract } from './contract.ts'
import { type Ask, FetchFailure } from './outgoing.ts'

/** From here on an answer is a failure of its request (OpenTelemetry conventions for HTTP client spans). */
const FIRST_ERROR_STATUS = 400
const DEFAULT_PORTS: Record<string, number> = { 'http:': 80, 'https:': 443 }
/** What HTTP names; a method of the code's own making is not repeated. */
const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/**
 * Sends a request as a part of the call's trace. Only a host that was confirmed is named: another is text of the code's
 * own, which may hold its users' arguments, or be a new one each time.
 */
export async function traced(
  tracing: Tracing,
  parent: string,
  { method, url }: Ask,
  { rules }: Pick<Contract, 'rules'>,
  send: () => Promise<EgressAnswer>,
): Promise<EgressAnswer> {
  const known = methods.has(method.toUpperCase()) ? method.toUpperCase() : '_OTHER'
  const asked = URL.parse(url)
  const isConfirmed = asked !== null && rules.has(asked.origin)
  const span = tracing.continue(known === '_OTHER' ? 'HTTP' : known, parent, {
    kind: 'client',
    attributes: {
      'http.request.method': known,
      ...(isConfirmed ? serverOf(asked) : {}),
    },
  })
  try {
    const answer = await send()
    span.set({ 'http.response.status_code': answer.status })
    span.end(answer.status < FIRST_ERROR_STATUS ? undefined : String(answer.status))
    return answer
  } catch (thrown) {
    span.end(thrown instanceof FetchFailure ? thrown.code : errorFrom(thrown).name)
    throw thrown
  }
}

function serverOf({ hostname, port, protocol }: URL) {
  const known = port === '' ? DEFAULT_PORTS[protocol] : Number(port)
  return {
    'server.address': hostname,
    ...(known === undefined ? {} : { 'server.port': known }),
  }
}
