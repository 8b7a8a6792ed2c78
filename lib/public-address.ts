/** Which addresses and host names belong to the public internet, decided before anything is connected. */
import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

/**
 * `public`: global unicast. `private`: may be reached where the operator said so. `forbidden`: never, by nobody
 * (metadata services, link-local, multicast, "this host", text that is no address).
 */
export type Reach = 'public' | 'private' | 'forbidden'

const forbiddenIPv4 = [
  '0.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/3',
  // Metadata and platform services of clouds outside link-local: Azure, Alibaba, Oracle.
  '168.63.129.16/32',
  '100.100.100.200/32',
  '192.0.0.192/32',
].map((range) => ipaddr.IPv4.parseCIDR(range))

const forbiddenIPv6 = [
  '::/128',
  'fe80::/10',
  'ff00::/8',
  // Metadata services: AWS, Google, Scaleway.
  'fd00:ec2::/32',
  'fd20:ce::/32',
  'fd00:42::/32',
].map((range) => ipaddr.IPv6.parseCIDR(range))

/** IANA gives global unicast out of 2000::/3 only; everything else is special. */
const globalUnicastIPv6 = ipaddr.IPv6.parseCIDR('2000::/3')

/** Special blocks inside 2000::/3 (IANA IPv6 special-purpose registry, RFC 6890 and successors). */
const specialIPv6 = [
  // Teredo, benchmarking, AMT, AS112, ORCHID and drone ids all lie in 2001::/23.
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  '2620:4f:8000::/48',
  '3ffe::/16',
  '3fff::/20',
].map((range) => ipaddr.IPv6.parseCIDR(range))

/** How an IP address in text form may be reached. Text that `isIP` refuses is forbidden. */
export function addressReach(text: string): Reach {
  const family = isIP(text)
  // A zone id (fe80::1%eth0) names an interface of this machine.
  if (family === 0 || text.includes('%')) return 'forbidden'
  return family === 4 ? reachIPv4(ipaddr.IPv4.parse(text)) : reachIPv6(ipaddr.IPv6.parse(text))
}

function reachIPv4(address: ipaddr.IPv4): Reach {
  if (forbiddenIPv4.some((range) => address.match(range))) return 'forbidden'
  return address.range() === 'unicast' ? 'public' : 'private'
}

function reachIPv6(address: ipaddr.IPv6): Reach {
  if (forbiddenIPv6.some((range) => address.match(range))) return 'forbidden'
  const embedded = embeddedIPv4(address)
  // A translator would carry the packet to the IPv4 address inside: never public, and forbidden when that one is.
  if (embedded !== undefined) return reachIPv4(embedded) === 'forbidden' ? 'forbidden' : 'private'
  if (!address.match(globalUnicastIPv6)) return 'private'
  if (specialIPv6.some((range) => address.match(range))) return 'private'
  return address.range() === 'unicast' ? 'public' : 'private'
}

/** Where the IPv4 address starts, in bytes, in each form that carries one. */
const embeddings: readonly [range: [ipaddr.IPv6, number], offset: number][] = [
  [ipaddr.IPv6.parseCIDR('::ffff:0:0/96'), 12],
  [ipaddr.IPv6.parseCIDR('::ffff:0:0:0/96'), 12],
  [ipaddr.IPv6.parseCIDR('64:ff9b::/96'), 12],
  [ipaddr.IPv6.parseCIDR('64:ff9b:1::/48'), 12],
  [ipaddr.IPv6.parseCIDR('2002::/16'), 2],
]
const compatibleIPv4 = ipaddr.IPv6.parseCIDR('::/96')
const loopbackIPv6 = ipaddr.IPv6.parse('::1')

function embeddedIPv4(address: ipaddr.IPv6): ipaddr.IPv4 | undefined {
  const bytes = address.toByteArray()
  const found = embeddings.find(([range]) => address.match(range))
  if (found !== undefined) return new ipaddr.IPv4(bytes.slice(found[1], found[1] + 4))
  const isCompatible = address.match(compatibleIPv4) && !address.match(loopbackIPv6, 128)
  return isCompatible ? new ipaddr.IPv4(bytes.slice(12)) : undefined
}

/** RFC 6761, RFC 6762, RFC 8375, RFC 9476 and the suffixes that private networks and clusters use. */
const privateSuffixes = [
  'localhost',
  'local',
  'localdomain',
  'internal',
  'intranet',
  'lan',
  'home',
  'corp',
  'private',
  'svc',
  'arpa',
  'onion',
  'invalid',
  'test',
  'example',
  'alt',
]
const forbiddenNames = new Set([
  'metadata',
  'metadata.google.internal',
  'instance-data.ec2.internal',
])
const MAX_NAME = 253
const labelPattern = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/

/** How a host name may be reached, before any DNS. Lower case, as `new URL(…).hostname` prints it. */
export function nameReach(name: string): Reach {
  const labels = name.split('.')
  if (name.length > MAX_NAME || !labels.every((label) => labelPattern.test(label)))
    return 'forbidden'
  if (forbiddenNames.has(name)) return 'forbidden'
  // A single label is completed with the search domains of this machine.
  if (labels.length === 1) return 'private'
  return privateSuffixes.includes(labels.at(-1) ?? '') ? 'private' : 'public'
}

/** The canonical text of an address (`::ffff:7f00:1` → `127.0.0.1`), so that two spellings compare equal. */
export function canonicalAddress(text: string): string {
  return ipaddr.process(text).toString()
}

/** Whether the address is of this machine's loopback. */
export function isLoopback(text: string): boolean {
  return ipaddr.process(text).range() === 'loopback'
}
