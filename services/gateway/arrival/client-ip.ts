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

/** What proxies say of the visitor: `X-Forwarded-For`, and `Forwarded` of RFC 7239. */
export type ForwardedHeaders = { forwardedFor: string | null; forwarded: string | null }

/**
 * The visitor's address. While the peer is trusted, the hops are walked from the right; the first that is no trusted
 * proxy is the visitor, and junk stops the walk. A proxy writes one of the two headers and may pass on a visitor's own
 * other one: where they disagree, neither is believed.
 */
export function clientIp(peer: string, headers: ForwardedHeaders, trusted: BlockList): string {
  const address = plainAddress(peer)
  const { forwardedFor, forwarded } = headers
  if (forwardedFor === null && forwarded === null) return address
  const visitors = [
    ...(forwardedFor === null ? [] : [walk(address, forwardedFor, nodeAddress, trusted)]),
    ...(forwarded === null ? [] : [walk(address, forwarded, forwardedNode, trusted)]),
  ]
  const [visitor = address] = visitors
  return visitors.every((each) => each === visitor) ? visitor : address
}

type ReadHop = (text: string) => string | undefined

/** A comma within quotes would make junk of both parts, and junk is not believed. */
function walk(peer: string, list: string, read: ReadHop, trusted: BlockList): string {
  let address = peer
  const hops = list.split(',')
  while (hops.length > 0 && isTrusted(address, trusted)) {
    const hop = read(hops.pop()?.trim() ?? '')
    if (hop === undefined) break
    address = hop
  }
  return address
}

/** The address of a hop, which some gateways write with its port; IPv6 with a port, and maybe without, is in brackets. */
const nodePattern = /^(?:\[([\da-f:.]+)\]|(\d+\.\d+\.\d+\.\d+))(?::(?:\d{1,5}|_[\w.-]+))?$/i

function nodeAddress(text: string): string | undefined {
  const [, v6, v4] = nodePattern.exec(text) ?? []
  const address = plainAddress(v6 ?? v4 ?? text)
  const isRight = v6 === undefined ? isIP(address) !== 0 : isIP(v6) === 6
  return isRight ? address : undefined
}

/** The `for` of one element of `Forwarded` (RFC 7239 section 4); an element that has it twice has none. */
function forwardedNode(element: string): string | undefined {
  const nodes = element.split(';').flatMap((pair) => {
    const [, quoted, bare] = /^\s*for=(?:"([^"\\]*)"|([^\s"]+))\s*$/i.exec(pair) ?? []
    return quoted ?? bare ?? []
  })
  return nodes.length === 1 ? nodeAddress(nodes[0] ?? '') : undefined
}

function fits(bits: number, family: number): boolean {
  return bits >= 0 && bits <= (family === 6 ? 128 : 32)
}

/** Whether the peer itself is one of the proxies. */
export function isTrusted(peer: string, trusted: BlockList): boolean {
  const address = plainAddress(peer)
  const family = isIP(address)
  return family !== 0 && trusted.check(address, family === 6 ? 'ipv6' : 'ipv4')
}

/** Whether the peer is a program of this machine. */
export function isLoopback(peer: string): boolean {
  return isTrusted(peer, loopback)
}

const loopback = trustedProxies(['127.0.0.0/8', '::1'])

/** IPv4 visitors of an IPv6 listener arrive as `::ffff:a.b.c.d`; zone ids name our interfaces, not the visitor. */
export function plainAddress(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  return mapped ?? address.replace(/%.*$/, '')
}
