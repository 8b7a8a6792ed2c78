/** A small real HTTP API that demands a key, for servers under test to call, with its OpenAPI document. */

export type SeenRequest = { method: string; path: string; headers: Record<string, string> }

export type Upstream = AsyncDisposable & {
  origin: string
  /** `127.0.0.1:PORT`, for `targets allow`. */
  target: string
  document: string
  /** Requests so far, oldest first. */
  seen: SeenRequest[]
}

/** Serves on a free loopback port; requests whose `X-Api-Key` is not the key get 401. */
export function startUpstream(apiKey: string): Upstream {
  const seen: SeenRequest[] = []
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request) {
      const url = new URL(request.url)
      const headers = Object.fromEntries(request.headers)
      seen.push({ method: request.method, path: url.pathname + url.search, headers })
      if (headers['x-api-key'] !== apiKey) {
        return Response.json({ error: 'the API key is missing or wrong' }, { status: 401 })
      }
      if (url.pathname === '/slow') await Bun.sleep(Number(url.searchParams.get('ms') ?? '1000'))
      if (url.pathname === '/mirror') return Response.json({ key: headers['x-api-key'] })
      const item = /^\/items\/([^/]+)$/.exec(url.pathname)?.[1]
      if (item !== undefined)
        return Response.json({ id: decodeURIComponent(item), name: `Item ${item}` })
      if (url.pathname === '/items' && request.method === 'POST') {
        return Response.json({ created: await request.json() }, { status: 201 })
      }
      return Response.json({ path: url.pathname })
    },
  })
  const origin = `http://127.0.0.1:${server.port}`
  return {
    origin,
    target: `127.0.0.1:${server.port}`,
    document: JSON.stringify(documentOf(origin)),
    seen,
    async [Symbol.asyncDispose]() {
      await server.stop(true)
    },
  }
}

function documentOf(origin: string) {
  const ok = { 200: { description: 'OK' } }
  const query = (name: string, type: string) => ({ name, in: 'query', schema: { type } })
  return {
    openapi: '3.1.0',
    info: { title: 'Items', version: '1', description: 'Items of a shop.' },
    servers: [{ url: origin }],
    security: [{ key: [] }],
    components: { securitySchemes: { key: { type: 'apiKey', in: 'header', name: 'X-Api-Key' } } },
    paths: {
      '/items/{id}': {
        get: {
          operationId: 'getItem',
          summary: 'One item by its id',
          tags: ['items'],
          parameters: [{ name: 'id', in: 'path', required: true, schema: { type: 'string' } }],
          responses: ok,
        },
      },
      '/items': {
        post: {
          operationId: 'createItem',
          summary: 'Creates an item',
          tags: ['items'],
          requestBody: {
            required: true,
            content: {
              'application/json': {
                schema: {
                  type: 'object',
                  required: ['name'],
                  properties: { name: { type: 'string' }, price: { type: 'number', minimum: 0 } },
                },
              },
            },
          },
          responses: ok,
        },
      },
      '/slow': {
        get: {
          operationId: 'slow',
          summary: 'Answers after a while',
          parameters: [query('ms', 'integer')],
          responses: ok,
        },
      },
      '/mirror': { get: { operationId: 'mirror', summary: 'Shows the key it got', responses: ok } },
    },
  }
}
