/** Fetching an OpenAPI document by its address, under the egress policy, redirects asked again one by one. */
import { egressFetch } from '@bmm/lib/egress'
import { destinationOf, EgressError, type EgressPolicy, publicPolicy } from '@bmm/lib/egress-policy'
import { invalid } from '@bmm/lib/errors'
import type { TargetService } from '@bmm/proto/broker/v1/broker_service'
import type { Client } from '@connectrpc/connect'

const MAX_REDIRECTS = 5
const MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
const TOTAL_MS = 30_000
const ACCEPT = 'application/json, application/yaml;q=0.9, text/yaml;q=0.9, */*;q=0.5'

export type FetchedDocument = { document: Uint8Array; url: string }
export type DocumentSource = (
  url: string,
  orgId: string,
  signal: AbortSignal,
) => Promise<FetchedDocument>

/** What an organisation may reach. Private addresses are those of the operator's list, asked anew each time. */
export type PolicySource = (orgId: string, signal: AbortSignal) => Promise<EgressPolicy>

export function policySource(
  targets: Client<typeof TargetService>,
  ownListeners: readonly string[],
): PolicySource {
  return async (orgId, signal) => {
    const allowed = await targets.listTargets({}, { signal })
    return publicPolicy({
      ownListeners,
      isTargetAllowed: (host, port) =>
        allowed.targets.some(
          (target) =>
            target.host === host &&
            target.port === port &&
            (target.orgId === '' || target.orgId === orgId),
        ),
    })
  }
}

/** Why the broker would refuse an origin by its name alone, or undefined. Nothing is resolved. */
export function originFault(origin: string, policy: EgressPolicy): string | undefined {
  try {
    destinationOf(origin, policy)
    return undefined
  } catch (error) {
    if (!(error instanceof EgressError)) throw error
    return error.message
  }
}

/** Throws `fetch_refused`, `fetch_failed`. */
export function documentSource(policyOf: PolicySource): DocumentSource {
  return async (url, orgId, signal) => {
    const policy = await policyOf(orgId, signal)
    let at = url
    for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
      const answer = await fetched(at, policy, signal)
      const location = answer.headers.find(([name]) => name === 'location')?.[1]
      if (answer.status < 300 || answer.status >= 400 || location === undefined) {
        if (answer.status === 200) return { document: answer.body, url: at }
        throw failed(`The address answered with status ${answer.status}.`)
      }
      if (!URL.canParse(location, at))
        throw failed('The address redirects to something that is no URL.')
      at = new URL(location, at).href
    }
    throw failed(`The address redirects more than ${MAX_REDIRECTS} times.`)
  }
}

async function fetched(url: string, policy: EgressPolicy, signal: AbortSignal) {
  try {
    return await egressFetch(url, {
      policy,
      signal,
      headers: [['accept', ACCEPT]],
      limits: { totalMs: TOTAL_MS, answerBytes: MAX_DOCUMENT_BYTES },
    })
  } catch (error) {
    if (!(error instanceof EgressError)) throw error
    throw error.isRefusal ? invalid('fetch_refused', error.message) : failed(error.message)
  }
}

function failed(message: string) {
  return invalid('fetch_failed', message)
}
