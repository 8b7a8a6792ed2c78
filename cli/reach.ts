/** How commands reach the gateway of their own stack: on loopback, whatever its public name means and whatever proxy the shell has. */

import { keepLoopbackDirect } from './config.ts'

/** The origin that its tokens and pages name, and the port that it listens on here. */
export type Gateway = { origin: string; port: number }

export type ReachRequest = Omit<RequestInit, 'headers'> & { headers?: Record<string, string> }

/** The gateway's address on this machine. */
export function directAddress({ port }: Gateway): string {
  return `http://127.0.0.1:${port}`
}

/** Sends a request for a path, or for an address of the public origin, straight to the gateway. */
export function reach(
  gateway: Gateway,
  address: string | URL,
  request: ReachRequest = {},
): Promise<Response> {
  keepLoopbackDirect()
  const { pathname, search } = new URL(address, gateway.origin)
  return fetch(`${directAddress(gateway)}${pathname}${search}`, {
    ...request,
    headers: { ...request.headers, ...hostHeader(gateway) },
  })
}

/** The gateway answers by its public name only. */
export function hostHeader({ origin }: Gateway): { host: string } {
  return { host: new URL(origin).host }
}
