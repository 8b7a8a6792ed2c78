/** Finished programs of others: the Inspector's command line, mcp-remote under an app that speaks stdio, Claude Code. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { type Account, postForm, type Served, serve, signUp } from '../account.ts'
import { type Stack, startStack } from '../stack.ts'
import { keptGrant, type Machine, openMachine, type Run, spoilAccessTokens } from './machine.ts'
import { sumsSpec } from './sums-spec.ts'

let stack: Stack
let sums: Served
let machine: Machine

beforeAll(async () => {
  stack = await startStack()
  const builder: Account = await signUp(stack, 'builder@example.com')
  const source = { spec: sumsSpec }
  sums = await serve(builder, { source, slug: 'sums', access: { kind: 'anyone' } })
}, 120_000)
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
})

/** Ends the grant that the client keeps, as its person would at the platform. */
async function revoke(): Promise<void> {
  const { refreshToken, clientId } = keptGrant(machine.home)
  const fields = { token: refreshToken, client_id: clientId }
  const answer = await postForm(`${stack.gateway}/oauth/revoke`, fields)
  expect([refreshToken, answer.status]).toEqual([expect.stringMatching(/^bmr_/), 200])
}

const askedOnce = ({ opened }: Run) => {
  expect(opened.map((url) => url.searchParams.get('resource'))).toEqual([sums.url])
}

describe('Inspector', () => {
  beforeAll(() => {
    machine = openMachine(stack, 'inspector@example.com')
  })
  afterAll(() => machine?.[Symbol.dispose]())

  const inspect = (...words: string[]) =>
    machine.run([
      ...['mcp-inspector', '--cli', sums.url, '--transport', 'http', '--quiet', '--format', 'json'],
      ...['--callback-url', 'http://127.0.0.1:0/oauth/callback', ...words],
    ])
  const add = ['--method', 'tools/call', '--tool-name', 'add', '--tool-arg', 'a=19', 'b=23']
  const result = ({ code, stdout, stderr }: Run) => {
    expect({ code, stderr }).toMatchObject({ code: 0 })
    return JSON.parse(stdout).result
  }

  test('401, discovery, registration, login, consent, token, tools', async () => {
    const listed = await inspect('--method', 'tools/list')
    expect(result(listed)).toMatchObject({ tools: [{ name: 'add' }] })
    askedOnce(listed)
  })

  test.each(['legacy', 'modern'])(
    'a right answer in the %s era, without the person',
    async (era) => {
      const called = await inspect('--stored-auth-only', '--protocol-era', era, ...add)
      expect(result(called)).toMatchObject({ structuredContent: { sum: 42 } })
    },
  )

  test('the schemas of the tools are portable by its own judgement', async () => {
    const listed = await inspect('--stored-auth-only', '--strict', '--method', 'tools/list')
    expect(listed).toMatchObject({ code: 0, stderr: '' })
  })

  test('an access token that is no good any more is replaced without the person', async () => {
    expect(spoilAccessTokens(machine.home)).toBeGreaterThan(0)
    const called = await inspect('--stored-auth-only', ...add)
    expect(result(called)).toMatchObject({ structuredContent: { sum: 42 } })
  })

  test('a revoked grant is called missing authorization', async () => {
    await revoke()
    const refused = await inspect('--stored-auth-only', ...add)
    expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining('auth_required')])
  })
})

describe('mcp-remote', () => {
  beforeAll(() => {
    machine = openMachine(stack, 'remote@example.com')
  })
  afterAll(() => machine?.[Symbol.dispose]())

  const use = () =>
    machine.run(['node', join(import.meta.dir, 'apps/stdio.ts'), 'mcp-remote', sums.url])
  const right = { protocol: '2025-11-25', tools: ['add'], answer: { sum: 42 } }
  const outcome = ({ code, stdout, stderr }: Run) => {
    expect({ code, stderr }).toMatchObject({ code: 0 })
    return JSON.parse(stdout)
  }

  test('401, discovery, registration, login, consent, token, tools, a right answer', async () => {
    const first = await use()
    expect(outcome(first)).toEqual(right)
    askedOnce(first)
  })

  test('an access token that is no good any more is replaced without the person', async () => {
    expect(spoilAccessTokens(machine.home)).toBeGreaterThan(0)
    const again = await use()
    expect(outcome(again)).toEqual(right)
    expect(again.opened).toEqual([])
  })

  test('after a revoked grant it asks the person again', async () => {
    await revoke()
    const again = await use()
    expect(outcome(again)).toEqual(right)
    askedOnce(again)
  })
})

describe('Claude Code', () => {
  beforeAll(() => {
    machine = openMachine(stack, 'claude@example.com')
  })
  afterAll(() => machine?.[Symbol.dispose]())

  /** Its sign-in wants a terminal. */
  const login = () => machine.run(['script', '-qfec', 'claude mcp login sums', '/dev/null'])
  const list = async () => {
    const { code, stdout } = await machine.run(['claude', 'mcp', 'list'])
    expect(code).toBe(0)
    return stdout
  }

  test('it adds the server by the words of the README, and sees that somebody has to sign in', async () => {
    const added = await machine.run([
      'claude',
      'mcp',
      'add',
      '--transport',
      'http',
      'sums',
      sums.url,
    ])
    expect([added.code, added.stderr]).toEqual([0, ''])
    expect(await list()).toMatch(/sums: .* Needs authentication/)
  })

  test('login: discovery, registration, sign-in, consent, token; then it is connected', async () => {
    const signedIn = await login()
    expect([signedIn.code, signedIn.stdout]).toEqual([0, expect.stringContaining('Authenticated')])
    askedOnce(signedIn)
    expect(await list()).toMatch(/sums: .* Connected/)
  })

  test('an access token that is no good any more is replaced without the person', async () => {
    expect(spoilAccessTokens(machine.home)).toBeGreaterThan(0)
    expect(await list()).toMatch(/sums: .* Connected/)
  })

  test('a revoked grant is shown as missing authentication, and another login mends it', async () => {
    await revoke()
    expect(await list()).toMatch(/sums: .* Needs authentication/)
    askedOnce(await login())
    expect(await list()).toMatch(/sums: .* Connected/)
  })
})
