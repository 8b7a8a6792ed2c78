import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { connect, type Era, type SignedIn, signIn } from './mcp-client.ts'
import { guestProcesses, stackGroup } from './processes.ts'
import { type Stack, stackDrivers, startStack } from './stack.ts'
import { startUpstream, type Upstream } from './upstream.ts'

const apiKey = 'walk-canary-5f0c2d7e9a41'
const email = 'walker@example.com'
const createdSchema = z.object({
  id: z.string(),
  slug: z.string(),
  version: z.number(),
  url: z.string(),
  tools: z.array(z.string()),
})

for (const driver of stackDrivers) {
  describe(`sandboxes by ${driver}`, () => {
    let upstream: Upstream
    let stack: Stack
    let server: z.infer<typeof createdSchema>
    let session: SignedIn
    /** Pids in sandboxes that stood ready before anything was called. */
    let warm: number[]

    beforeAll(async () => {
      upstream = startUpstream(apiKey)
      stack = await startStack(driver)
      writeFileSync(join(stack.data, 'items.json'), upstream.document)
      writeFileSync(join(stack.data, 'items.key'), apiKey)
    }, 120_000)
    afterAll(async () => {
      await session?.[Symbol.asyncDispose]()
      await stack?.[Symbol.asyncDispose]()
      await upstream?.[Symbol.asyncDispose]()
    })

    describe('from a document to an answered call', () => {
      test('the document becomes a live server', async () => {
        await stack.run('login', '--email', email)
        await stack.run('targets', 'allow', upstream.target, '--everyone')
        const output = await stack.run(
          ...[
            'servers',
            'create',
            '--openapi',
            join(stack.data, 'items.json'),
            '--slug',
            'walk-items',
          ],
          ...['--credential', `KEY=@${join(stack.data, 'items.key')}`, '--json'],
        )
        server = createdSchema.parse(JSON.parse(output))
        expect(server.url).toBe(`${stack.gateway}/s/walk-items/mcp`)
        expect(server.tools.toSorted()).toEqual(['createItem', 'getItem', 'mirror', 'slow'])
      })

      test('a stranger gets 401 that names the metadata, which names this authorization server', async () => {
        const refused = await fetch(server.url, { method: 'POST', body: '{}' })
        expect(refused.status).toBe(401)
        const challenge = refused.headers.get('www-authenticate') ?? ''
        const metadataUrl = /resource_metadata="([^"]+)"/.exec(challenge)?.[1] ?? ''
        expect(metadataUrl).toBe(
          `${stack.gateway}/.well-known/oauth-protected-resource/s/walk-items/mcp`,
        )
        const metadata = await (await fetch(metadataUrl)).json()
        expect(metadata).toMatchObject({
          resource: server.url,
          authorization_servers: [stack.gateway],
        })
      })

      test('an ordinary client registers, the person signs in and allows, and a token comes back', async () => {
        session = await signIn(stack, server.url, email)
        for (const shown of ['Journey client', '127.0.0.1', 'Items', upstream.origin]) {
          expect(session.consentHtml).toContain(shown)
        }
      })

      test('listing the tools wakes no sandbox', async () => {
        warm = await guestProcesses(stack)
        const { tools } = await session.client.listTools()
        expect(tools.map((tool) => tool.name).toSorted()).toEqual(server.tools.toSorted())
        expect(tools.find((tool) => tool.name === 'getItem')?.annotations?.readOnlyHint).toBe(true)
        expect(warm.length).toBeGreaterThan(0)
        expect((await guestProcesses(stack)).toSorted()).toEqual(warm.toSorted())
      })

      test('a call reaches the API with the key, which the answer does not show', async () => {
        const answer = await session.client.callTool({ name: 'getItem', arguments: { id: 'b ü?' } })
        expect(JSON.stringify(answer)).toContain('Item')
        expect(JSON.stringify(answer)).not.toContain(apiKey)
        const seen = upstream.seen.at(-1)
        expect([seen?.path, seen?.headers['x-api-key']]).toEqual(['/items/b%20%C3%BC%3F', apiKey])
      })

      test('an answer that holds the key is refused as a whole', async () => {
        const answer = await session.client.callTool({ name: 'mirror', arguments: {} })
        expect(answer.isError).toBe(true)
        expect(JSON.stringify(answer)).not.toContain(apiKey)
      })

      test('the builder sees what was refused, and why', async () => {
        let refusals: unknown[] = []
        for (let attempt = 0; attempt < 20 && refusals.length === 0; attempt++) {
          refusals = JSON.parse(await stack.run('refusals', 'walk-items', '--json')).refusals
        }
        expect(refusals).toEqual([
          expect.objectContaining({ reason: 'secret_in_answer', method: 'GET' }),
        ])
      })

      test('arguments that break the schema are explained to the model', async () => {
        const answer = await session.client.callTool({
          name: 'createItem',
          arguments: { price: -1 },
        })
        expect(answer.isError).toBe(true)
        expect(JSON.stringify(answer)).toMatch(/name/)
      })

      test.each<Era>(['modern', 'legacy'])('the same URL serves a %s client', async (era) => {
        const client = await connect(server.url, session.provider, era)
        const answer = await client.callTool({ name: 'createItem', arguments: { name: 'Chair' } })
        expect(JSON.stringify(answer)).toContain('Chair')
        await client.close()
      })

      test('another person of another organisation is refused', async () => {
        const stranger = await signIn(stack, server.url, 'stranger@example.com').then(
          () => 'connected',
          (error: unknown) => String(error),
        )
        expect(stranger).toMatch(/may not use this server/)
      })
    })

    describe('pause, resume, delete', () => {
      const call = () =>
        session.client.callTool({ name: 'getItem', arguments: { id: '1' } }).then(
          (answer) => (answer.isError === true ? 'tool error' : 'answered'),
          () => 'refused',
        )

      test('a paused server answers nothing and has no sandbox of its own', async () => {
        expect(await call()).toBe('answered')
        const awake = await guestProcesses(stack)
        await stack.run('servers', 'pause', 'walk-items')
        expect(await call()).toBe('refused')
        const left = await guestProcesses(stack)
        const ended = awake.filter((pid) => !left.includes(pid))
        expect(ended.length).toBeGreaterThan(0)
        // What served the calls had stood ready before the first of them: it came from the pool.
        expect(ended.filter((pid) => !warm.includes(pid))).toEqual([])
      })

      test('a resumed server answers again after a new sign-in', async () => {
        await stack.run('servers', 'resume', 'walk-items')
        await session[Symbol.asyncDispose]()
        session = await signIn(stack, server.url, email)
        expect(await call()).toBe('answered')
      })

      test('a deleted server leaves nothing', async () => {
        await stack.run('servers', 'delete', 'walk-items', '--yes')
        expect(await call()).toBe('refused')
        expect((await stack.attempt('servers', 'show', 'walk-items')).code).toBe(1)
        const again = await stack.attempt(
          ...[
            'servers',
            'create',
            '--openapi',
            join(stack.data, 'items.json'),
            '--slug',
            'walk-items',
          ],
        )
        expect([again.code, again.stderr]).toEqual([1, expect.stringMatching(/taken/)])
      })

      test('down leaves no process, socket, mount or control group', async () => {
        const run = join(stack.mailbox, '..')
        const group = stackGroup(stack)
        await stack.run('down')
        expect(existsSync(run)).toBe(false)
        expect(await guestProcesses(stack)).toEqual([])
        for (const controller of ['memory', 'pids', 'cpu', '']) {
          const mount = join('/sys/fs/cgroup', controller)
          const groups = existsSync(mount) ? readdirSync(mount) : []
          expect(groups.filter((name) => name.startsWith(group))).toEqual([])
        }
        expect(readdirSync(stack.data).filter((name) => name.endsWith('.sock'))).toEqual([])
      })
    })
  })
}
