/** Where a request may go: decided by name before any DNS, then by every address that the name resolves to. */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import { addressReach, canonicalAddress, isLoopback, nameReach } from './public-address.ts'

export type EgressCode =
  // Refused by policy: nothing left this machine.
  | 'url_invalid'
  | 'scheme_refused'
  | 'userinfo_refused'
  | 'method_refused'
  | 'header_refused'
  | 'upgrade_refused'
  | 'host_refused'
  | 'private_address'
  | 'own_listener'
  | 'request_too_large'
  // Went wrong on the way.
  | 'unresolved'
  | 'connect_failed'
  | 'tls_failed'
  | 'timeout'
  | 'cancelled'
  | 'answer_invalid'
  | 'answer_too_large'
  | 'busy'

const policyCodes: ReadonlySet<EgressCode> = new Set([
  'url_invalid',
  'scheme_refused',
  'userinfo_refused',
  'method_refused',
  'header_refused',
  'upgrade_refused',
  'host_refused',
  'private_address',
  'own_listener',
  'request_too_large',
])

/** Why there is no answer. The message names the host and what to do, never a header, a path or a body. */
export class EgressError extends Error {
  override readonly name = 'EgressError'

  constructor(
    readonly code: EgressCode,
    message: string,
    readonly host: string,
  ) {
    super(message)
  }

  /** Refused by policy, as opposed to failed on the way. */
  get isRefusal(): boolean {
    return policyCodes.has(this.code)
  }
}

/** All addresses of a host name, in the order to try them. */
export type Resolve = (name: string) => Promise<readonly string[]>

export type EgressPolicy = {
  resolve: Resolve
  /** Whether the operator allows this private target; names as in `hostname`, IPv6 without brackets. */
  isTargetAllowed: (host: string, port: number) => boolean
  /** `host:port` of the platform's own listeners; never reachable, by whatever name. */
  ownListeners: readonly string[]
}

/** The system resolver. */
export async function systemResolve(name: string): Promise<readonly string[]> {
  return (await lookup(name, { all: true })).map(({ address }) => address)
}

/** The policy for the public internet alone. */
export function publicPolicy(options: Partial<EgressPolicy> = {}): EgressPolicy {
  return {
    resolve: options.resolve ?? systemResolve,
    isTargetAllowed: options.isTargetAllowed ?? (() => false),
    ownListeners: options.ownListeners ?? [],
  }
}

export type Destination = {
  url: URL
  /** Host name or address, without brackets: what Host, SNI and certificate are about. */
  host: string
  port: number
  /** A private target by the operator's leave; addresses need not be public then. */
  isTarget: boolean
}

const DEFAULT_PORT = { 'http:': 80, 'https:': 443 } as const
const MAX_URL = 16 * 1024

/** Decides by scheme, name and port alone. Throws EgressError. */
export function destinationOf(text: string | URL, policy: EgressPolicy): Destination {
  if (String(text).length > MAX_URL || !URL.canParse(String(text))) {
    throw new EgressError('url_invalid', 'The URL is not a valid absolute URL.', '')
  }
  const url = new URL(text)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new EgressError('scheme_refused', `Only http and https are allowed (${host}).`, host)
  }
  if (url.username !== '' || url.password !== '') {
    throw new EgressError('userinfo_refused', `A URL must not carry a user name (${host}).`, host)
  }
  const port = url.port === '' ? DEFAULT_PORT[url.protocol] : Number(url.port)
  const isTarget = policy.isTargetAllowed(host, port)
  if (policy.ownListeners.includes(hostPort(host, port))) throw ownListener(host, port)
  if (isIP(host) !== 0) {
    checkAddress(host, { host, port, isTarget }, policy)
  } else {
    checkName(host, port, isTarget)
  }
  return { url, host, port, isTarget }
}

/** The addresses to connect to, each of them permitted; resolves a name exactly once. Throws EgressError. */
export async function addressesOf(
  destination: Destination,
  policy: EgressPolicy,
): Promise<readonly string[]> {
  const { host } = destination
  if (isIP(host) !== 0) return [host]
  const addresses = await policy.resolve(host).catch(() => [])
  if (addresses.length === 0) {
    throw new EgressError('unresolved', `The host name ${host} does not resolve.`, host)
  }
  for (const address of addresses) checkAddress(address, destination, policy)
  return addresses
}

/** `host:port`, with brackets around an IPv6 address. */
function hostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

function checkName(host: string, port: number, isTarget: boolean): void {
  const reach = nameReach(host)
  if (reach === 'public' || (reach === 'private' && isTarget)) return
  if (reach === 'private') throw privateRefusal('host_refused', host, port)
  throw new EgressError('host_refused', `The host "${host}" is never reachable from here.`, host)
}

function checkAddress(
  address: string,
  { host, port, isTarget }: Pick<Destination, 'host' | 'port' | 'isTarget'>,
  policy: EgressPolicy,
): void {
  const reach = addressReach(address)
  if (reach === 'forbidden') {
    throw new EgressError(
      'private_address',
      `${host} leads to an address that is never reachable from here.`,
      host,
    )
  }
  if (isOwnListener(address, port, policy.ownListeners)) throw ownListener(host, port)
  if (reach === 'private' && !isTarget) throw privateRefusal('private_address', host, port)
}

function privateRefusal(code: EgressCode, host: string, port: number): EgressError {
  return new EgressError(
    code,
    `${host} is not on the public internet. The operator can allow it: ./bmm targets allow ${hostPort(host, port)} --org ID`,
    host,
  )
}

function ownListener(host: string, port: number): EgressError {
  return new EgressError(
    'own_listener',
    `${hostPort(host, port)} is a part of this platform and not reachable from here.`,
    host,
  )
}

const wildcards = new Set(['0.0.0.0', '::', '*'])

/** One of our ports on this machine, whichever of its addresses is used; or exactly a listed address. */
function isOwnListener(address: string, port: number, listeners: readonly string[]): boolean {
  const canonical = canonicalAddress(address)
  return listeners.some((listener) => {
    const colon = listener.lastIndexOf(':')
    if (Number(listener.slice(colon + 1)) !== port) return false
    const host = listener.slice(0, colon).replace(/^\[|\]$/g, '')
    if (isIP(host) !== 0 && canonicalAddress(host) === canonical) return true
    const isOfThisMachine = isIP(host) === 0 || wildcards.has(host) || isLoopback(host)
    return isOfThisMachine && isLocalAddress(canonical)
  })
}

function isLocalAddress(canonical: string): boolean {
  if (isLoopback(canonical)) return true
  return Object.values(networkInterfaces()).some((addresses) =>
    addresses?.some(({ address }) => canonicalAddress(address.replace(/%.*$/, '')) === canonical),
  )
}
