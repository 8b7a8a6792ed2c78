/** The URLs of MCP endpoints. */
import { Elysia } from 'elysia'
import type { Arrivals } from '../arrival.ts'
import { type McpOptions, serveMcp } from './endpoint.ts'

export function mcpPlugin(options: McpOptions & { arrivals: Arrivals }) {
  return new Elysia({ name: 'mcp' }).all(
    '/s/:slug/mcp',
    ({ request, params }) => serveMcp(options, request, params.slug, options.arrivals.of(request)),
    { parse: 'none' },
  )
}
