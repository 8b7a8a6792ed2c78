/** The corpus of attempts that need a whole stack: the way out and the answer, beside another person's server. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { z } from 'zod'
import {
  type Answer,
  callTool,
  obtainTokens,
  type Served,
  serve,
  signUp,
  type Tokens,
  textOf,
} from '../account.ts'
import { hostileSpec } from '../hostile-tool.ts'
import { type Stack, stackDrivers, startStack } from '../stack.ts'
import { startUpstream, type Upstream } from '../upstream.ts'
import { askedOrigins, askPrelude, egress, neverAsked } from './egress.ts'
import { results } from './results.ts'

const apiKey = 'hostile-canary-2c19e0'
const rpcSchema = z.strictObject({
  jsonrpc: z.literal('2.0'),
  id: z.literal(1),
  result: z
    .strictObject({
      content: z.array(
        z.looseObject({ type: z.enum(['text', 'image', 'audio', 'resource', 'resource_link']) }),
      ),
      structuredContent: z.unknown().optional(),
      isError: z.boolean().optional(),
      _meta: z.looseObject({}).optional(),
    })
    .optional(),
  error: z.looseObject({ code: z.number(), message: z.string() }).optional(),
})

/** The hostile tools: one an attempt. */
const bodies = {
  well: "return 'well'",
  ...Object.fromEntries(
    egress.map(({ code }, index) => [`egress_${index}`, `${askPrelude}${code}`]),
  ),
  ...Object.fromEntries(results.map(({ written }, index) => [`result_${index}`, forging(written)])),
}

/** Answers with this text where the guest would write the JSON of its result. */
function forging(written: string): string {
  return `const [json] = [JSON]
    const real = json.stringify
    const answer = ctx.result({ content: [] })
    json.stringify = (...given) => {
      if (given[0] !== answer) return real(...given)
      json.stringify = real
      return ${written}
    }
    return answer`
}

for (const driver of stackDrivers) {
  describe(`by ${driver}`, () => {
    let stack: Stack
    let upstream: Upstream
    let elsewhere: ReturnType<typeof startElsewhere>
    let hostile: { server: Served; tokens: Tokens }
    let neighbour: { server: Served; tokens: Tokens }

    beforeAll(async () => {
      upstream = startUpstream(apiKey)
      stack = await startStack(driver)
      elsewhere = startElsewhere(stack.gateway)
      for (const origin of [upstream.origin, elsewhere.origin])
        await stack.run('targets', 'allow', new URL(origin).host, '--everyone')
      const spec = hostileSpec(upstream.origin, elsewhere.origin, bodies)
      const open = async (name: string, asked: string[]) => {
        const account = await signUp(stack, `${name}@example.com`)
        const origins = asked.map((origin) => ({ origin }))
        const source = { spec: { ...spec, egress: [...spec.egress, ...origins] } }
        const credentials = [{ name: 'API_KEY', value: apiKey }]
        const server = await serve(account, { source, slug: `hostile-${name}`, credentials })
        return { server, tokens: await obtainTokens(stack, account, server.url) }
      }
      hostile = await open('author', askedOrigins(Number(new URL(stack.gateway).port)))
      neighbour = await open('neighbour', [])
    }, 180_000)
    afterAll(async () => {
      await stack?.[Symbol.asyncDispose]()
      await upstream?.[Symbol.asyncDispose]()
      await elsewhere?.stop()
    })
    afterEach(async () => {
      const { server, tokens } = neighbour
      const answer = await callTool(server.url, tokens.accessToken, { name: 'honest' })
      expect(JSON.parse(textOf(answer))).toEqual({ status: 200, item: { id: '7', name: 'Item 7' } })
    })

    function run(name: string): Promise<Answer> {
      const { server, tokens } = hostile
      const args = {
        api: upstream.origin,
        elsewhere: elsewhere.origin,
        port: Number(new URL(stack.gateway).port),
      }
      return callTool(server.url, tokens.accessToken, { name, args })
    }

    describe('egress', () => {
      test.each(egress.map(({ intent, seen }, index) => [intent, index, seen] as const))(
        'to %s',
        async (_, index, seen) => {
          expect(JSON.parse(textOf(await run(`egress_${index}`)))).toEqual([...seen])
          expect(elsewhere.seen.filter(({ path }) => neverAsked.includes(path))).toEqual([])
        },
      )

      test('nothing that arrived said that it was for another host, or had more than one meaning', () => {
        const { host } = new URL(elsewhere.origin)
        expect(elsewhere.seen.length).toBeGreaterThan(5)
        for (const { method, headers } of elsewhere.seen) {
          expect(method).toMatch(/^(GET|POST)$/)
          expect(headers.host).toBe(host)
          expect([headers.upgrade, headers['proxy-authorization'], headers['x-api-key']]).toEqual([
            undefined,
            undefined,
            undefined,
          ])
          expect('content-length' in headers && 'transfer-encoding' in headers).toBe(false)
        }
      })
    })

    describe('results', () => {
      test.each(results.map(({ intent }, index) => [intent, index] as const))(
        'to %s',
        async (_, index) => {
          const answer = await run(`result_${index}`)
          const { result, error } = rpcSchema.parse(answer.json)
          expect([answer.status, (result === undefined) !== (error === undefined)]).toEqual([
            200,
            true,
          ])
          expect(answer.text).not.toContain('forged')
          // The sandbox goes on, and its next answer is whole.
          expect(textOf(await run('well'))).toBe('well')
        },
      )
    })
  })
}

/** An API that is allowed but gets no credential; says what it saw, and leads astray. */
function startElsewhere(astray: string) {
  const seen: { method: string; path: string; headers: Record<string, string> }[] = []
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch(request) {
      const path = new URL(request.url).pathname
      seen.push({ method: request.method, path, headers: Object.fromEntries(request.headers) })
      if (path !== '/redirect') return Response.json({ path })
      const location = astray.replace('localhost', 'example.org')
      return new Response(null, { status: 302, headers: { location } })
    },
  })
  return { origin: `http://127.0.0.1:${server.port}`, seen, stop: () => server.stop(true) }
}
