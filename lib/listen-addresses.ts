/** Which addresses the platform's ports listen on: loopback, and those of BMM_LISTEN. */
import { isIP } from 'node:net'

/** One that is named must be there; a machine may lack a loopback address. */
export type ListenAddress = { hostname: string; isNamed: boolean }

const MAX_ADDRESSES = 16
const loopback = ['127.0.0.1', '::1']

/**
 * Reads addresses parted by commas. `0.0.0.0` takes the place of every IPv4 address, and `::`, which takes IPv4 too, of
 * all. Throws RangeError naming what is no address.
 */
export function listenAddresses(list = ''): ListenAddress[] {
  const named = list
    .split(',')
    .map((entry) => entry.trim().replace(/^\[(.*)\]$/, '$1'))
    .filter((entry) => entry !== '')
  for (const entry of named) {
    if (isIP(entry) === 0) throw new RangeError(`"${entry}" is not an IP address`)
  }
  if (named.length > MAX_ADDRESSES) throw new RangeError(`more than ${MAX_ADDRESSES} addresses`)
  const spelled = named.map(canonical)
  const all = [...new Set([...loopback, ...spelled])]
  return all
    .filter((each) => each === '::' || !spelled.includes('::'))
    .filter((each) => isIP(each) === 6 || each === '0.0.0.0' || !spelled.includes('0.0.0.0'))
    .map((hostname) => ({ hostname, isNamed: spelled.includes(hostname) }))
}

/** `HOST:PORT`, with brackets around an IPv6 address. */
export function listenerName(hostname: string, port: number): string {
  return isIP(hostname) === 6 ? `[${hostname}]:${port}` : `${hostname}:${port}`
}

/** What is wrong when a named address cannot be listened on. */
export function listenFault(hostname: string, port: number, why: string): string {
  return `BMM_LISTEN names ${hostname}, and port ${port} cannot be opened there (${why}): name an address of this machine on which the port is free.`
}

/** `0:0:0:0:0:0:0:0` is `::`. */
function canonical(address: string): string {
  if (isIP(address) === 4) return address
  const zone = /%.*$/.exec(address)?.[0] ?? ''
  return new URL(`http://[${address.replace(/%.*$/, '')}]`).hostname.slice(1, -1) + zone
}
