/** Stands before a server under test and adds the bearer, since the suite sends none. */

/** Tokens live a few minutes; a run of the suite may take longer. */
const TOKEN_FRESH_MS = 2 * 60_000

export type Shim = AsyncDisposable & { url: string }

/** Passes everything on to the MCP address of a server, foreign `Host` and `Origin` headers included. */
export function startShim(target: string, newToken: () => Promise<string>): Shim {
  const { host, origin } = new URL(target)
  let token: { value: Promise<string>; at: number } | undefined

  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    idleTimeout: 0,
    async fetch(request) {
      if (token === undefined || Date.now() - token.at > TOKEN_FRESH_MS) {
        token = { value: newToken(), at: Date.now() }
      }
      const own = new URL(server.url)
      const headers = new Headers(request.headers)
      headers.set('authorization', `Bearer ${await token.value}`)
      // What names the shim names the server; what names somebody else is for the server to refuse.
      if (names(headers.get('host'), own)) headers.set('host', host)
      if (names(headers.get('origin')?.replace(/^https?:\/\//, '') ?? null, own)) {
        headers.set('origin', origin)
      }
      headers.delete('accept-encoding')
      const answer = await fetch(target, {
        method: request.method,
        headers,
        body: request.body === null ? null : await request.arrayBuffer(),
        signal: request.signal,
        redirect: 'manual',
      })
      return new Response(answer.body, { status: answer.status, headers: answer.headers })
    },
  })

  return {
    url: `http://localhost:${server.port}/mcp`,
    async [Symbol.asyncDispose]() {
      await server.stop(true)
    },
  }
}

function names(host: string | null, own: URL): boolean {
  return host === own.host || host === `localhost:${own.port}`
}
