import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { type Stack, startStack } from './stack.ts'

const demoSchema = z.object({
  ok: z.literal(true),
  url: z.string(),
  steps: z.array(z.object({ name: z.string(), elapsedMs: z.number() })),
  totalMs: z.number(),
})
const slug = 'tea-shop'
let stack: Stack
let demo: z.infer<typeof demoSchema>
let key: string

beforeAll(async () => {
  stack = await startStack()
  demo = demoSchema.parse(JSON.parse(await stack.run('demo', '--json')))
  key = readFileSync(join(stack.data, 'demo', 'key'), 'utf8')
}, 240_000)
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
})

const json = async (...words: string[]) => JSON.parse(await stack.run(...words, '--json'))

describe('the demo', () => {
  test('ends with an answered call, every step with its time', () => {
    expect(demo.url).toBe(`${stack.gateway}/s/${slug}/mcp`)
    expect(demo.steps.length).toBe(7)
    expect(demo.totalMs).toBeGreaterThan(0)
  })

  test('a second one uses the same server and says how to go on', async () => {
    const text = await stack.run('demo')
    for (const part of [demo.url, 'claude mcp add', 'code --add-mcp', 'mcp.json', './bmm down']) {
      expect(text).toContain(part)
    }
    expect((await json('servers', 'list')).servers.length).toBe(1)
  })

  test('who waits for the mail in a browser is told in which folder it lies', async () => {
    const body = new URLSearchParams({ email: 'waiting@example.com' })
    const headers = { origin: stack.gateway }
    const page = await fetch(`${stack.gateway}/login`, { method: 'POST', body, headers })
    expect(await page.text()).toContain(`<code>${stack.mailbox}</code>`)
  })
})

describe('the commands on a live server', () => {
  test('whoami names the person and the organisation', async () => {
    expect(await json('whoami')).toMatchObject({
      user: { email: 'demo@example.com' },
      role: 'owner',
    })
  })

  test('show tells everything but the value of the credential', async () => {
    const shown = await json('servers', 'show', slug)
    expect(shown).toMatchObject({ slug, state: 'live', version: 1, tools: 3, url: demo.url })
    expect(shown.credentials).toMatchObject([{ name: 'TEA_SHOP_KEY', stored: true }])
    expect(JSON.stringify(shown)).not.toContain(key)
    expect(await stack.run('credentials', 'list', slug)).toMatch(/TEA_SHOP_KEY +set/)
  })

  test('a call goes through the real endpoint', async () => {
    const answer = JSON.parse(await stack.run('call', slug, 'listTeas', '{"kind":"green"}'))
    expect(answer.teas.map((tea: { id: string }) => tea.id)).toEqual(['sencha', 'gyokuro'])
    const ordered = await json('call', slug, 'orderTea', '{"tea":"assam","grams":100}')
    expect(ordered.structuredContent).toMatchObject({ tea: 'assam', grams: 100 })
  })

  test('an error of the tool is shown and ends with 1', async () => {
    const { code, stdout, stderr } = await stack.attempt('call', slug, 'getTea', '{"id":"coffee"}')
    expect([code, stdout]).toEqual([1, expect.stringContaining('no such tea')])
    expect(stderr).toContain('error')
  })

  test('a value is replaced without a word of it', async () => {
    const file = join(stack.data, 'demo', 'key')
    const said = await stack.run('credentials', 'set', slug, `TEA_SHOP_KEY=@${file}`)
    expect(said).toMatch(/TEA_SHOP_KEY is set; it goes to http:\/\/127\.0\.0\.1:\d+ only/)
    expect(said).not.toContain(key)
    const unknown = await stack.attempt('credentials', 'set', slug, 'OTHER=hunter2')
    expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringMatching(/no credential/)])
    expect(unknown.stderr).not.toContain('hunter2')
  })

  test('a target that is taken back is refused, with what to do in the log', async () => {
    const { targets } = await json('targets', 'list')
    const [{ host, port, orgId }] = targets
    await stack.run('targets', 'remove', `${host}:${port}`, '--org', orgId)
    await untilCode('call', 1)
    await stack.run('targets', 'allow', `${host}:${port}`, '--org', orgId)
    await untilCode('call', 0)
  }, 60_000)

  test('rotated keys open what older ones sealed, and clients go on', async () => {
    const { dataKey, signingKey } = await json('keys', 'rotate')
    expect(dataKey).toBe(2)
    expect(signingKey).toMatch(/^[\w-]{43}$/)
    await untilCode('call', 0)
  }, 60_000)

  test('a token is a bearer for this server only', async () => {
    const { token, url } = await json('token', slug)
    expect(url).toBe(demo.url)
    const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString())
    expect(claims.aud).toBe(demo.url)
    expect(claims.exp - claims.iat).toBeLessThanOrEqual(300)
  })

  test('builds and logs can be read', async () => {
    const build = await json('builds', 'show', slug)
    expect(build.state).toBe('succeeded')
    expect(build.steps.map(({ step }: { step: string }) => step)).toEqual([
      'resolve',
      'scan',
      'compile',
      'try',
      'sign',
      'deploy',
    ])
    expect((await stack.attempt('builds', 'cancel', slug)).code).toBe(1)
    expect((await stack.attempt('logs', slug)).code).toBe(0)
  })

  test('a taken slug, an unknown server and a bad document are sentences', async () => {
    const document = join(stack.data, 'demo', 'openapi.json')
    const create = ['servers', 'create', '--openapi', document, '--slug']
    for (const [words, sentence] of [
      [[...create, slug], /taken/],
      [['servers', 'show', 'nobody-there'], /no such server/i],
      [['builds', 'show', 'bld_00000000000000000000000000'], /build/],
      [[...create, 'other', '--only', 'tag:nothing'], /.+/],
    ] as const) {
      const { code, stderr } = await stack.attempt(...words)
      expect([words, code, stderr]).toEqual([words, 1, expect.stringMatching(sentence)])
    }
  })
})

describe('afterwards', () => {
  test('logged out, nothing works until the next login', async () => {
    await stack.run('logout')
    expect(await stack.attempt('whoami')).toMatchObject({ code: 1 })
    expect((await stack.attempt('whoami')).stderr).toContain('./bmm login')
    await stack.run('login', '--email', 'demo@example.com')
    await stack.run('servers', 'delete', slug, '--yes')
    expect((await stack.attempt('servers', 'show', slug)).code).toBe(1)
  })

  test('the demo works for someone else, whose slug it can not have', async () => {
    await stack.run('login', '--email', 'someone-else@example.com')
    const { code, stderr } = await stack.attempt('demo')
    expect([code, stderr]).toEqual([0, expect.stringMatching(/it becomes tea-shop-[0-9a-f]{6}/)])
  }, 60_000)

  test('the key stands in no log and no file but its own', async () => {
    for (const name of readdirSync(join(stack.data, 'logs'))) {
      expect([name, readFileSync(join(stack.data, 'logs', name), 'utf8').includes(key)]).toEqual([
        name,
        false,
      ])
    }
  })

  test('down ends the API of the demo too', async () => {
    const { port } = JSON.parse(readFileSync(join(stack.data, 'demo', 'shop.json'), 'utf8'))
    await stack.run('down')
    const deadline = Date.now() + 20_000
    while (
      await fetch(`http://127.0.0.1:${port}/teas`).then(
        () => true,
        () => false,
      )
    ) {
      if (Date.now() > deadline) throw new Error('the tea shop is still open')
      await Bun.sleep(100)
    }
    expect(existsSync(stack.mailbox)).toBe(false)
  }, 60_000)
})

/** The gateway and the broker hear of a change within 2 s: calls until the exit code is as expected. */
async function untilCode(command: 'call', code: number): Promise<void> {
  const deadline = Date.now() + 20_000
  for (;;) {
    const attempt = await stack.attempt(command, slug, 'listTeas')
    if (attempt.code === code) return
    if (Date.now() > deadline) throw new Error(`still ${attempt.code}: ${attempt.stderr}`)
    await Bun.sleep(200)
  }
}
