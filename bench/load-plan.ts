/** What the load generator is told and what it answers. */
import { callBody } from './tool-call.ts'

export type LoadPlan = {
  hostname: string
  port: number
  /** Whole HTTP requests; connection n sends the one at n modulo their number, again and again. */
  requests: string[]
  connections: number
  durationMs: number
  /** A text that every answer has. */
  expected: string
}

export type LoadResult = {
  calls: number
  /** From the first request to the last answer. */
  elapsedMs: number
  p50Ms: number
  p99Ms: number
}

/** Runs a plan in a process of its own. Throws when an answer is not the expected one. */
export async function runLoad(plan: LoadPlan): Promise<LoadResult> {
  const child = Bun.spawn([process.execPath, new URL('load.ts', import.meta.url).pathname], {
    stdin: new Blob([JSON.stringify(plan)]),
    stdout: 'pipe',
    stderr: 'inherit',
  })
  const text = await new Response(child.stdout).text()
  if ((await child.exited) !== 0) throw new Error(`the load generator failed: ${text}`)
  return JSON.parse(text)
}

/** A `tools/call` of the modern era as bytes on the wire. */
export function echoRequest(url: URL, text: string, token?: string): string {
  return requestBytes(url, callBody('echo', { text }), [
    'mcp-protocol-version: 2026-07-28',
    'mcp-method: tools/call',
    'mcp-name: echo',
    ...(token === undefined ? [] : [`authorization: Bearer ${token}`]),
  ])
}

/** The same of the era with sessions, in which calls at a time need ids of their own. */
export function sessionRequest(url: URL, text: string, session: string, id: number): string {
  const params = { name: 'echo', arguments: { text } }
  const body = JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params })
  return requestBytes(url, body, ['mcp-protocol-version: 2025-06-18', `mcp-session-id: ${session}`])
}

function requestBytes(url: URL, body: string, headers: string[]): string {
  return [
    `POST ${url.pathname} HTTP/1.1`,
    `host: ${url.host}`,
    'content-type: application/json',
    'accept: application/json, text/event-stream',
    ...headers,
    `content-length: ${Buffer.byteLength(body)}`,
    '',
    body,
  ].join('\r\n')
}
