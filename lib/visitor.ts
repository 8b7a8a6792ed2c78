/** Whom a limit counts: one IPv4 address, or the /64 network that an IPv6 visitor owns. */
import { isIP } from 'node:net'

const GROUPS_OF_A_NETWORK = 4
const GROUPS = 8

/** `203.0.113.7`, `2001:db8:0:1::/64`; an IPv4-mapped address counts as IPv4. */
export function visitorOf(ip: string): string {
  if (isIP(ip) !== 6) return ip
  // The URL parser writes the address in its one canonical form (RFC 5952).
  const canonical = new URL(`http://[${ip.split('%')[0]}]`).hostname.slice(1, -1)
  const groups = expanded(canonical)
  const mapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
  if (mapped) {
    const [high = 0, low = 0] = groups.slice(6)
    return [high >> 8, high & 255, low >> 8, low & 255].join('.')
  }
  const network = groups.slice(0, GROUPS_OF_A_NETWORK).map((group) => group.toString(16))
  return `${network.join(':')}::/64`
}

function expanded(canonical: string): number[] {
  const [head = '', tail] = canonical.split('::')
  const before = groupsOf(head)
  const after = tail === undefined ? [] : groupsOf(tail)
  const missing = tail === undefined ? 0 : GROUPS - before.length - after.length
  return [...before, ...Array<number>(missing).fill(0), ...after]
}

function groupsOf(text: string): number[] {
  return text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16))
}
