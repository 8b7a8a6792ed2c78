/** Real sandboxes through a real keeper and each driver: what leaves by the broker's leg and comes back. Needs root; a missing part is a failure. */
import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { callTool, type TestFetch } from '../keeper/testing.ts'
import { describeByDriver } from '../keeper/testing-drivers.ts'

setDefaultTimeout(120_000)

describeByDriver('egress', (withTools) => {
  describe('ctx.fetch', () => {
    const seen: TestFetch[] = []
    const upstream = (request: TestFetch) => {
      seen.push(request)
      const { pathname } = new URL(request.url)
      if (pathname === '/refused')
        return { failed: { code: 'origin_refused', message: 'No way to b.example.' } }
      if (pathname === '/moved')
        return { status: 302, headers: [['location', '/x']] as [string, string][], body: '' }
      if (pathname === '/empty') return { status: 204, body: '' }
      if (pathname === '/hang') return new Promise<never>(() => {})
      const headers: [string, string][] = [
        ['content-type', 'application/json'],
        ['set-cookie', 'a=1'],
        ['set-cookie', 'b=2'],
      ]
      return {
        status: 200,
        headers,
        body: JSON.stringify({ got: Buffer.from(request.body).toString() }),
      }
    }
    const tools = {
      post: `async (_, ctx) => {
      const response = await ctx.fetch('https://api.example.com/things?a=1', {
        method: 'POST', headers: { 'x-one': '1' }, body: new URLSearchParams({ q: 'ü' }),
      })
      return { status: response.status, ok: response.ok, url: response.url, type: response.headers.get('content-type'),
        cookies: response.headers.getSetCookie(), body: await response.json() }
    }`,
      get: `async ({ path }, ctx) => {
      const response = await ctx.fetch(new URL(path, 'https://api.example.com'))
      return { status: response.status, location: response.headers.get('location'), text: await response.text() }
    }`,
      big: `async (_, ctx) => (await ctx.fetch('https://api.example.com/', { method: 'PUT', body: new Uint8Array(3_000_000) })).status`,
    }

    test('carries method, headers and body out and the whole answer back', async () => {
      await withTools(
        tools,
        async (sandbox) => {
          seen.length = 0
          let call = 0
          const { result } = await callTool(
            sandbox,
            'post',
            {},
            {
              onStart: (id) => {
                call = id
              },
            },
          )
          expect(JSON.parse(result.content[0]?.text ?? '')).toEqual({
            status: 200,
            ok: true,
            url: 'https://api.example.com/things?a=1',
            type: 'application/json',
            cookies: ['a=1', 'b=2'],
            body: { got: 'q=%C3%BC' },
          })
          const [request] = seen
          expect(request).toMatchObject({
            call,
            method: 'POST',
            url: 'https://api.example.com/things?a=1',
          })
          const headers = new Map(request?.headers)
          expect(headers.get('x-one')).toBe('1')
          expect(headers.get('content-type')).toContain('application/x-www-form-urlencoded')
          expect((await callTool(sandbox, 'big')).result.content[0]?.text).toBe('200')
          expect(seen[1]?.body.length).toBe(3_000_000)
        },
        { upstream },
      )
    })

    test('hands redirects back, has no body where there is none, and throws refusals', async () => {
      await withTools(
        tools,
        async (sandbox) => {
          const get = async (path: string) => (await callTool(sandbox, 'get', { path })).result
          expect(JSON.parse((await get('/moved')).content[0]?.text ?? '')).toEqual({
            status: 302,
            location: '/x',
            text: '',
          })
          expect((await get('/empty')).content[0]?.text).toContain('"status":204')
          expect(await get('/refused')).toEqual({
            content: [{ type: 'text', text: 'No way to b.example.' }],
            isError: true,
          })
        },
        { upstream },
      )
    })

    test('is given up with its call', async () => {
      await withTools(
        tools,
        async (sandbox) => {
          const answer = await callTool(sandbox, 'get', { path: '/hang' }, { timeoutMs: 300 })
          expect(answer.outcome.code).toBe('deadline')
          expect((await callTool(sandbox, 'get', { path: '/empty' })).outcome.code).toBe('ok')
        },
        { upstream, times: { graceMs: 15_000 } },
      )
    })
  })

  describe('an imported operation', () => {
    const operation = {
      method: 'GET',
      url: 'https://api.example.com/pets/{id}',
      parameters: [
        { key: 'id', name: 'id', in: 'path', style: 'simple', explode: false },
        { key: 'tag', name: 'tag', in: 'query', style: 'form', explode: true },
      ],
    }
    const inputSchema = {
      type: 'object',
      properties: { id: { type: 'integer' }, tag: { type: 'array' } },
      required: ['id'],
    }
    const tools = [{ name: 'getPet', inputSchema, operation }]

    test('leaves as its request and comes back as a result, without any module', async () => {
      const seen: TestFetch[] = []
      const upstream = (request: TestFetch) => {
        seen.push(request)
        if (request.url.includes('/pets/9')) return { status: 404, body: 'no such pet' }
        if (request.url.includes('/pets/8')) {
          return {
            failed: { code: 'origin_refused', message: 'api.example.com is not allowed.' },
          }
        }
        const headers: [string, string][] = [['content-type', 'application/json']]
        return { status: 200, headers, body: '{"name":"Rex"}' }
      }
      await withTools(
        {},
        async (sandbox) => {
          const { result } = await callTool(sandbox, 'getPet', { id: 7, tag: ['a b', 'c'] })
          expect(seen[0]).toMatchObject({
            method: 'GET',
            url: 'https://api.example.com/pets/7?tag=a%20b&tag=c',
          })
          expect(result.content[0]?.text).toContain('Rex')
          expect(result.isError ?? false).toBe(false)
          const missing = await callTool(sandbox, 'getPet', { id: 9 })
          expect(missing.result.isError).toBe(true)
          expect(missing.result.content[0]?.text).toContain('404')
          const refused = await callTool(sandbox, 'getPet', { id: 8 })
          expect(refused.result).toEqual({
            content: [{ type: 'text', text: 'api.example.com is not allowed.' }],
            isError: true,
          })
          const bad = await callTool(sandbox, 'getPet', { id: 'x' })
          expect(bad.result.content[0]?.text).toContain('- id: ')
          expect(seen).toHaveLength(3)
        },
        { upstream, more: tools },
      )
    })

    test('can be asked for by a code tool', async () => {
      const source = `async (input, ctx) => {
      const result = await ctx.request(${JSON.stringify(operation)}, { id: input.id })
      return result
    }`
      const upstream = () => ({ status: 200, body: 'plain' })
      await withTools(
        { relay: source },
        async (sandbox) => {
          const { result } = await callTool(sandbox, 'relay', { id: 3 })
          expect(result.content[0]?.text).toContain('plain')
        },
        { upstream },
      )
    })
  })
})
