/** The URLs of MCP endpoints, in front of the router: they are most of all requests, and one pattern tells them. */
import { accepts } from '../arrival/body.ts'
import type { Door } from '../arrival/listener.ts'
import { type McpOptions, serveMcp } from './endpoint.ts'

/** The host was checked before; what is no slug is refused by the endpoint. */
const endpointPattern = /^https?:\/\/[^/?#]*\/s\/([^/?#]+)\/mcp\/?(?:\?|$)/

export function mcpDoor(options: McpOptions): Door {
  return (request, arrival) => {
    const slug = endpointPattern.exec(request.url)?.[1]
    if (slug === undefined) return undefined
    // A person who opens the address gets a page.
    if (request.method === 'GET' && accepts(request, 'text/html')) return undefined
    return serveMcp(options, request, slug, arrival)
  }
}
