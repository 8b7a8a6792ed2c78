/** The least that can answer a call: `Bun.serve` and JSON, by hand, without a protocol, a token or a sandbox. */

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  idleTimeout: 0,
  async fetch(request) {
    const { id, params } = (await request.json()) as {
      id: number
      params: { arguments: { text: string } }
    }
    const content = [{ type: 'text', text: params.arguments.text }]
    return Response.json({ jsonrpc: '2.0', id, result: { content } })
  },
})
process.stdout.write(`${server.port}\n`)
