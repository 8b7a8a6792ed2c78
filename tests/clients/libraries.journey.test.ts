/** Small apps on other people's libraries, each a process of its own, from the first 401 to a right answer. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { type Account, postForm, type Served, serve, signUp } from '../account.ts'
import { type Stack, startStack } from '../stack.ts'
import { type Machine, openMachine, type Person, type Run } from './machine.ts'
import { sumsSpec } from './sums-spec.ts'

const apps = [
  { name: 'SDK v1', words: ['sdk-v1.ts'], protocol: '2025-11-25' },
  { name: 'SDK v2, today’s era', words: ['sdk-v2.ts', 'modern'], protocol: '2026-07-28' },
  { name: 'SDK v2, the earlier era', words: ['sdk-v2.ts', 'legacy'], protocol: '2025-11-25' },
  { name: 'AI SDK', words: ['ai-sdk.ts'], protocol: '2026-07-28' },
] as const
const keptSchema = z.looseObject({
  tokens: z.looseObject({ access_token: z.string(), refresh_token: z.string() }),
  client: z.looseObject({ client_id: z.string() }),
})

let stack: Stack
let builder: Account
let sums: Served
let other: Served

beforeAll(async () => {
  stack = await startStack()
  builder = await signUp(stack, 'builder@example.com')
  const served = (slug: string) =>
    serve(builder, { source: { spec: sumsSpec }, slug, access: { kind: 'anyone' } })
  sums = await served('sums')
  other = await served('other-sums')
}, 120_000)
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
})

for (const [index, { name, words, protocol }] of apps.entries()) {
  describe(name, () => {
    let machine: Machine
    let file: string
    beforeAll(() => {
      machine = openMachine(stack, `person${index}@example.com`)
      file = join(machine.home, 'kept.json')
    })
    afterAll(() => machine?.[Symbol.dispose]())

    const run = (url: string, person: Person): Promise<Run> => {
      const [program, ...more] = words
      return machine.run(
        ['node', join(import.meta.dir, 'apps', program), url, file, ...more],
        person,
      )
    }
    const right = { code: 0, stdout: { protocol, tools: ['add'], answer: { sum: 42 } }, stderr: '' }
    const outcomeOf = ({ code, stdout, stderr }: Run) => ({
      ...{ code, stderr },
      stdout: stdout === '' ? '' : JSON.parse(stdout),
    })
    const kept = () => keptSchema.parse(JSON.parse(readFileSync(file, 'utf8')))

    test('401, discovery, registration, login, consent, token, tools, a right answer', async () => {
      const signedIn = await run(sums.url, 'allows')
      expect(outcomeOf(signedIn)).toEqual(right)
      expect(signedIn.opened.length).toBe(1)
      const asked = signedIn.opened[0]?.searchParams
      expect(asked?.get('resource')).toBe(sums.url)
      expect(asked?.get('scope')?.split(' ')).toContain('mcp:tools')
    })

    test('the next run needs nobody', async () => {
      expect(outcomeOf(await run(sums.url, 'away'))).toEqual(right)
    })

    test('an access token that is no good any more is replaced without anybody', async () => {
      const before = kept()
      const spoiled = { ...before, tokens: { ...before.tokens, access_token: 'spoiled' } }
      writeFileSync(file, JSON.stringify(spoiled))
      expect(outcomeOf(await run(sums.url, 'away'))).toEqual(right)
      expect(kept().tokens.refresh_token).not.toBe(before.tokens.refresh_token)
    })

    test('the tokens of one server open no other', async () => {
      const before = readFileSync(file, 'utf8')
      const { tokens, client } = kept()
      writeFileSync(file, JSON.stringify({ tokens, client }))
      const { code, stdout, stderr } = await run(other.url, 'away')

      expect([code, stdout]).toEqual([1, ''])
      expect(stderr).toMatch(/not the one that was authorized|Somebody has to sign in/)
      writeFileSync(file, before)
    })

    test('a revoked grant says so, and signing in again mends it', async () => {
      const { tokens, client } = kept()
      const revoked = await postForm(`${stack.gateway}/oauth/revoke`, {
        token: tokens.refresh_token,
        client_id: client.client_id,
      })
      expect(revoked.status).toBe(200)
      const refused = await run(sums.url, 'away')
      expect([refused.code, refused.stdout]).toEqual([1, ''])
      expect(refused.stderr).toMatch(/Somebody has to sign in/)
      expect(outcomeOf(await run(sums.url, 'allows'))).toEqual(right)
    })
  })
}
