/** Which address a visitor has: the peer's, unless exactly configured proxies vouch for another. */
import { BlockList, isIP } from 'node:net'

/** Addresses and CIDR ranges of proxies. Throws RangeError naming the entry that is neither. */
export function trustedProxies(entries: readonly string[]): BlockList {
  const list = new BlockList()
  for (const entry of entries) {
    const [address = '', prefix, ...rest] = entry.split('/')
    const family = isIP(address)
    const bits = prefix === undefined ? undefined : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1
    if (family === 0 || rest.length > 0 || (bits !== undefined && !fits(bits, family))) {
      throw new RangeError(`"${entry}" is neither an IP address nor a range such as 10.0.0.0/8`)
    }
    const name = family === 6 ? 'ipv6' : 'ipv4'
    if (bits === undefined) list.addAddress(address, name)
    else list.addSubnet(address, bits, name)
  }
  return list
}

/**
 * The visitor's address. While the peer is trusted, `X-Forwarded-For` is walked from the right; the first hop that is
 * no trusted proxy is the visitor, and junk stops the walk.
 */
export function clientIp(peer: string, forwardedFor: string | null, trusted: BlockList): string {
  let address = plain(peer)
  if (forwardedFor === null) return address
  const hops = forwardedFor.split(',')
  while (hops.length > 0 && isTrusted(address, trusted)) {
    const hop = plain(hops.pop()?.trim() ?? '')
    if (isIP(hop) === 0) break
    address = hop
  }
  return address
}

function fits(bits: number, family: number): boolean {
  return bits >= 0 && bits <= (family === 6 ? 128 : 32)
}

/** Whether the peer itself is one of the proxies. */
export function isTrusted(address: string, trusted: BlockList): boolean {
  const family = isIP(address)
  return family !== 0 && trusted.check(address, family === 6 ? 'ipv6' : 'ipv4')
}

/** IPv4 visitors of an IPv6 listener arrive as `::ffff:a.b.c.d`; zone ids name our interfaces, not the visitor. */
function plain(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  return mapped ?? address.replace(/%.*$/, '')
}
