/** Peers that forward for others and are not in BMM_TRUSTED_PROXIES: all callers behind one of them count as one visitor. */
import type { BlockList } from 'node:net'
import type { Log } from '@bmm/lib/log'
import { addressReach } from '@bmm/lib/public-address'
import { isTrusted, plainAddress } from './client-ip.ts'

/** Any client can send such headers, so what they fill is bounded. */
const MAX_PEERS = 16
const forwardingHeaders = ['x-forwarded-for', 'forwarded', 'x-forwarded-proto', 'x-forwarded-host']

export type UnnamedProxies = {
  /** Counts a request that carries such a header; each peer is logged once. */
  see(peer: () => string, header: (name: string) => unknown): void
  /** What the operator should do; undefined while nothing was seen. */
  warning(): string | undefined
  /** Requests so far. */
  count(): number
}

export function unnamedProxies({ trusted, log }: { trusted: BlockList; log: Log }): UnnamedProxies {
  const peers = new Set<string>()
  let count = 0
  return {
    see(peer, header) {
      if (!forwardingHeaders.some((name) => header(name) != null)) return
      const address = plainAddress(peer())
      if (address === '' || isTrusted(address, trusted)) return
      count++
      if (peers.has(address) || peers.size >= MAX_PEERS) return
      peers.add(address)
      log.warn({ peer: address }, sentence([address]))
    },
    warning: () => (peers.size === 0 ? undefined : sentence([...peers].filter(isOurs))),
    count: () => count,
  }
}

/** Anyone may ask for the warning: the addresses of visitors who made up such a header are for the log alone. */
function isOurs(address: string): boolean {
  return addressReach(address) !== 'public'
}

function sentence(peers: readonly string[]): string {
  const list = peers.join(',') || 'ADDRESS'
  const from = peers.length === 0 ? 'an address that the log of the gateway names' : list
  return `Requests with X-Forwarded-* or Forwarded headers come from ${from}, which BMM_TRUSTED_PROXIES does not name: everyone behind it shares the limits of one visitor. If that is your proxy, start with BMM_TRUSTED_PROXIES=${list}; if not, ignore this.`
}
