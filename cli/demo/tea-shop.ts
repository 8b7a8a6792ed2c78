/** The demo's own HTTP API: a tea shop that answers nobody without its key, and the document that describes it. */

import document from './openapi.json'

/** Name of its security scheme, and so of the credential that a server for it needs. */
export const CREDENTIAL = 'TEA_SHOP_KEY'

export type Tea = {
  id: string
  name: string
  kind: string
  gramsInStock: number
  pricePer100g: number
}

const teas: readonly Tea[] = [
  { id: 'sencha', name: 'Sencha', kind: 'green', gramsInStock: 4200, pricePer100g: 6.9 },
  { id: 'gyokuro', name: 'Gyokuro', kind: 'green', gramsInStock: 350, pricePer100g: 24 },
  { id: 'assam', name: 'Assam TGFOP', kind: 'black', gramsInStock: 8100, pricePer100g: 4.5 },
  { id: 'da-hong-pao', name: 'Da Hong Pao', kind: 'oolong', gramsInStock: 120, pricePer100g: 38 },
]
const MAX_ORDERS = 1000
const MAX_BODY_BYTES = 10_000

export type TeaShop = { port: number; stop(): Promise<void> }

/** Serves on 127.0.0.1; port 0 for any free one. */
export function serveTeaShop(options: { port: number; key: string }): TeaShop {
  const orders: { number: number; tea: string; grams: number }[] = []
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: options.port,
    maxRequestBodySize: MAX_BODY_BYTES,
    async fetch(request) {
      if (request.headers.get('x-api-key') !== options.key) {
        return Response.json(
          { error: 'The header X-Api-Key is missing or wrong.' },
          { status: 401 },
        )
      }
      const { pathname, searchParams } = new URL(request.url)
      if (request.method === 'GET' && pathname === '/teas') {
        const kind = searchParams.get('kind')
        return Response.json({ teas: teas.filter((tea) => kind === null || tea.kind === kind) })
      }
      const id = /^\/teas\/([^/]+)$/.exec(pathname)?.[1]
      if (request.method === 'GET' && id !== undefined) {
        const tea = teas.find((each) => each.id === decodeURIComponent(id))
        if (tea !== undefined) return Response.json(tea)
        return Response.json({ error: 'There is no such tea.' }, { status: 404 })
      }
      if (request.method === 'POST' && pathname === '/orders') {
        const order = orderFrom(await request.json().catch(() => undefined))
        if (order === undefined || orders.length >= MAX_ORDERS) {
          return Response.json(
            { error: 'An order has a tea and 50 to 1000 grams.' },
            { status: 400 },
          )
        }
        orders.push({ number: orders.length + 1, ...order })
        return Response.json(orders.at(-1), { status: 201 })
      }
      return Response.json({ error: 'There is nothing here.' }, { status: 404 })
    },
  })
  return { port: server.port ?? options.port, stop: () => server.stop(true) }
}

function orderFrom(body: unknown): { tea: string; grams: number } | undefined {
  const { tea, grams } = { tea: undefined, grams: undefined, ...(body as object | undefined) }
  const known = teas.some((each) => each.id === tea)
  return known && Number.isInteger(grams) && Number(grams) >= 50 && Number(grams) <= 1000
    ? { tea: String(tea), grams: Number(grams) }
    : undefined
}

/** Its OpenAPI 3.1 document, with the address of the shop. */
export function teaShopDocument(port: number): string {
  return JSON.stringify({ ...document, servers: [{ url: `http://127.0.0.1:${port}` }] })
}
