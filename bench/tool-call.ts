/** One tool call of the modern era, as a client's HTTP library makes it. */

/** Milliseconds to the whole answer, which must hold `expected`. */
export async function timedCall(
  url: string,
  token: string,
  call: { tool: string; input: Record<string, unknown>; expected: string },
): Promise<number> {
  const begun = performance.now()
  const answer = await fetch(url, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': call.tool,
    },
    body: callBody(call.tool, call.input),
  })
  const text = await answer.text()
  const elapsedMs = performance.now() - begun
  if (answer.status === 200 && text.includes(call.expected)) return elapsedMs
  throw new Error(`${url} answered ${answer.status}: ${text}`)
}

/** The JSON of a `tools/call` of the modern era. */
export function callBody(tool: string, input: Record<string, unknown>): string {
  return JSON.stringify({
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: {
      name: tool,
      arguments: input,
      _meta: {
        'io.modelcontextprotocol/protocolVersion': '2026-07-28',
        'io.modelcontextprotocol/clientCapabilities': {},
        'io.modelcontextprotocol/clientInfo': { name: 'bench', version: '1' },
      },
    },
  })
}
