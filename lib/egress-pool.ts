/** Kept connections to upstreams, apart for each key (a sandbox) and each checked set of addresses. */
import http from 'node:http'
import https from 'node:https'
import tls from 'node:tls'

/** Shorter than the 5 s after which common servers close an idle connection. */
const IDLE_MS = 4_000
const MAX_AGENTS = 1_000
const MAX_SOCKETS = 16
const MAX_FREE_SOCKETS = 4

export type EgressPool = {
  /** The agent for one key and place; the place names scheme, host, port and checked addresses. */
  agentFor(key: string, place: string, isTls: boolean): http.Agent
  /** Ends every connection of the key, used or idle. */
  drop(key: string): void
  close(): void
}

export type PoolOptions = {
  maxAgents?: number
  /** Certificate authorities beside those of the system, PEM. */
  extraCa?: readonly string[]
}

/** A pool of keep-alive connections; the caller closes it. */
export function openEgressPool(options: PoolOptions = {}): EgressPool {
  const maxAgents = options.maxAgents ?? MAX_AGENTS
  let context: tls.SecureContext | undefined
  const secureContext = () => {
    context ??= trustedContext(options.extraCa)
    return context
  }
  const agents = new Map<string, Map<string, http.Agent>>()
  let count = 0

  function remove(key: string, place: string): void {
    const places = agents.get(key)
    places?.get(place)?.destroy()
    if (places?.delete(place)) count--
    if (places?.size === 0) agents.delete(key)
  }

  /** The oldest agents without a request under way make room. */
  function evict(): void {
    for (const [key, places] of agents) {
      for (const [place, agent] of places) {
        if (count < maxAgents) return
        if (Object.keys(agent.sockets).length === 0) remove(key, place)
      }
    }
  }

  function drop(key: string): void {
    for (const place of [...(agents.get(key)?.keys() ?? [])]) remove(key, place)
  }

  return {
    agentFor(key, place, isTls) {
      const places = agents.get(key)
      const found = places?.get(place)
      if (found !== undefined) return found
      if (count >= maxAgents) evict()
      if (count >= maxAgents) return newAgent(isTls, secureContext, false)
      const agent = newAgent(isTls, secureContext, true)
      const current = agents.get(key) ?? new Map<string, http.Agent>()
      agents.set(key, current.set(place, agent))
      count++
      return agent
    },
    drop,
    close: () => [...agents.keys()].forEach(drop),
  }
}

/** The authorities that Bun trusts, those of the system, NODE_EXTRA_CA_CERTS and the extra ones. */
export function trustedContext(extraCa: readonly string[] = []): tls.SecureContext {
  const ca = new Set([
    ...tls.getCACertificates('default'),
    ...tls.getCACertificates('system'),
    ...tls.getCACertificates('extra'),
    ...extraCa,
  ])
  return tls.createSecureContext({ ca: [...ca], minVersion: 'TLSv1.2' })
}

/** `rejectUnauthorized` is said aloud so that NODE_TLS_REJECT_UNAUTHORIZED=0 changes nothing. */
export function newAgent(
  isTls: boolean,
  secureContext: () => tls.SecureContext,
  keepAlive: boolean,
): http.Agent {
  const options = {
    keepAlive,
    timeout: IDLE_MS,
    maxSockets: MAX_SOCKETS,
    maxFreeSockets: MAX_FREE_SOCKETS,
  }
  if (!isTls) return new http.Agent(options)
  return new https.Agent({
    ...options,
    secureContext: secureContext(),
    rejectUnauthorized: true,
    ALPNProtocols: ['http/1.1'],
  })
}
