/** Which request headers leave and which answer headers come back: framing, routing and hops are ours alone. */
import { EgressError } from './egress-policy.ts'

export type HeaderList = readonly (readonly [name: string, value: string])[]

/**
 * An API's own header names are without number, so the list is of names that mean something to HTTP, to proxies or to
 * frameworks: those never leave. Compared in lower case with `_` as `-`, as CGI-like servers read them.
 */
const ownHeaders = new Set([
  // Framing and connection (RFC 9112), negotiated by us.
  'host',
  'connection',
  'content-length',
  'transfer-encoding',
  'te',
  'trailer',
  'keep-alive',
  'expect',
  'accept-encoding',
  'http2-settings',
  'alt-used',
  'max-forwards',
  // Hops and who asks (RFC 7239 and what proxies made of it).
  'via',
  'forwarded',
  'x-real-ip',
  'x-client-ip',
  'true-client-ip',
  'x-cluster-client-ip',
  'cdn-loop',
  'x-original-url',
  'x-original-host',
  'x-rewrite-url',
  'x-host',
  // Another method or path than the one that was checked.
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
])
const ownPrefixes = ['proxy-', 'x-forwarded', 'cf-', 'sec-', 'x-amzn-trace', 'x-envoy-']

const hopHeaders = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'alt-svc',
])

/** RFC 9110 section 5.6.2. */
const tokenPattern = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/
/** RFC 9110 section 5.5, bytes as Latin-1. */
const valuePattern = /^[\t\x20-\x7e\x80-\xff]*$/
const MAX_HEADERS = 100
const MAX_HEADER_BYTES = 48 * 1024

export type HeaderRules = {
  host: string
  /** The answer will be searched for a secret: no part of it may be asked for alone. */
  isCredentialed: boolean
}

/** What leaves, by lower-case name. Throws EgressError for what cannot be honoured silently. */
export function outgoingHeaders(
  headers: HeaderList,
  { host, isCredentialed }: HeaderRules,
): Map<string, string[]> {
  const outgoing = new Map<string, string[]>()
  let bytes = 0
  for (const [name, value] of headers) {
    const lower = name.toLowerCase()
    if (!tokenPattern.test(name)) {
      throw new EgressError('header_refused', `A header name for ${host} is malformed.`, host)
    }
    if (!valuePattern.test(value)) {
      throw new EgressError(
        'header_refused',
        `The header ${lower} for ${host} has characters that a header cannot carry.`,
        host,
      )
    }
    bytes += name.length + value.length
    const canonical = lower.replaceAll('_', '-')
    if (canonical === 'upgrade') {
      throw new EgressError(
        'upgrade_refused',
        `Protocol upgrades are not possible (${host}).`,
        host,
      )
    }
    if (isOwnHeader(canonical)) continue
    if (isCredentialed && (canonical === 'range' || canonical === 'if-range')) continue
    outgoing.set(lower, [...(outgoing.get(lower) ?? []), value])
  }
  if (headers.length > MAX_HEADERS || bytes > MAX_HEADER_BYTES) {
    throw new EgressError('header_refused', `There are too many headers for ${host}.`, host)
  }
  return outgoing
}

/** What comes back: without hop-by-hop headers and without those that the connection itself names (RFC 9110 section 7.6.1). */
export function answerHeaders(
  headers: HeaderList,
  { isDecoded, method }: { isDecoded: boolean; method: string },
): [string, string][] {
  const named = headers
    .filter(([name]) => name.toLowerCase() === 'connection')
    .flatMap(([, value]) =>
      value
        .toLowerCase()
        .split(',')
        .map((token) => token.trim()),
    )
  const dropped = new Set([...hopHeaders, ...named])
  if (isDecoded) dropped.add('content-encoding')
  // The body that is handed on says its own length; only HEAD has nothing else to say it with.
  if (isDecoded || method !== 'HEAD') dropped.add('content-length')
  return headers
    .map(([name, value]): [string, string] => [name.toLowerCase(), value])
    .filter(([name]) => !dropped.has(name))
}

function isOwnHeader(canonical: string): boolean {
  return ownHeaders.has(canonical) || ownPrefixes.some((prefix) => canonical.startsWith(prefix))
}
