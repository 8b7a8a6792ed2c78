/** A platform that gets its public name later: nothing changes by itself, and servers go on after the move. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bmm } from './stack.ts'

const first = 'https://mcp.example.test'
/** Where nothing listens, as for a company's proxy that does not know this machine. */
const behindProxy = Object.fromEntries(
  ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy', 'ALL_PROXY'].map((name) => [
    name,
    'http://127.0.0.1:9',
  ]),
)
const document = {
  openapi: '3.1.0',
  info: { title: 'Pets', version: '1' },
  servers: [{ url: 'https://api.example.com' }],
  paths: {
    '/pets': { get: { operationId: 'listPets', responses: { 200: { description: 'ok' } } } },
  },
}
let data: string
let port: number

beforeAll(async () => {
  data = mkdtempSync(join(tmpdir(), 'bmm public url-'))
  const file = join(data, '..', `${data.split('/').at(-1)}.json`)
  writeFileSync(file, JSON.stringify(document))
  const report = await run(['up', '--detach', '--port', '0', '--json'])
  port = Number(new URL(JSON.parse(report).gateway).port)
  await run(['login', '--email', 'you@example.com'], behindProxy)
  await run(['servers', 'create', '--openapi', file, '--slug', 'early'], behindProxy)
  rmSync(file)
}, 240_000)
afterAll(async () => {
  await bmm(['down', '--data', data])
  rmSync(data, { recursive: true, force: true })
}, 100_000)

async function run(words: string[], env: Record<string, string> = {}): Promise<string> {
  const { code, stdout, stderr } = await bmm([...words, '--data', data], { env })
  if (code !== 0) throw new Error(`${words.join(' ')} ended with ${code}: ${stderr}`)
  return stdout
}

async function statusAs(host: string): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${port}/s/early/mcp`, {
    method: 'POST',
    headers: { host, 'content-type': 'application/json' },
    body: '{}',
  })
  return answer.status
}

test('answers commands on loopback in a shell with a proxy', async () => {
  expect(await run(['whoami'], behindProxy)).toContain('you@example.com')
})

test('refuses to move while it runs, and to start under another address, with a command that can be pasted', async () => {
  const moved = await bmm(['public-url', 'set', first, '--data', data])
  expect([moved.code, moved.stderr]).toEqual([1, expect.stringContaining('stop it first')])
  const joined = await bmm(['up', '--detach', '--data', data], { env: { BMM_PUBLIC_URL: first } })
  expect([joined.code, joined.stderr]).toEqual([1, expect.stringContaining('belongs to')])
  await run(['down'])
  const started = await bmm(['up', '--detach', '--data', data], { env: { BMM_PUBLIC_URL: first } })
  expect([started.code, started.stderr]).toEqual([
    1,
    expect.stringContaining(`./bmm public-url set ${first} --data '${data}'`),
  ])
}, 120_000)

test('serves the same servers at the new address after the move, which a later start remembers', async () => {
  const answer = JSON.parse(await run(['public-url', 'set', first, '--json']))
  expect(answer).toMatchObject({ publicUrl: first, was: `http://localhost:${port}` })
  expect(answer.todo.join(' ')).toContain('sign in again')
  const { stdout, stderr } = await bmm(['up', '--detach', '--json', '--data', data])
  expect(JSON.parse(stdout)).toMatchObject({ gateway: first })
  expect(stderr).toContain(`public URL ${first}`)
  expect(await run(['servers', 'list'], behindProxy)).toContain(`${first}/s/early/mcp`)
  expect([await statusAs('mcp.example.test'), await statusAs(`localhost:${port}`)]).toEqual([
    401, 421,
  ])
  // A bearer by the whole code flow: issuer, resource and audience are those of now.
  const { token, url } = JSON.parse(await run(['token', 'early', '--json'], behindProxy))
  expect(url).toBe(`${first}/s/early/mcp`)
  const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString())
  expect(claims).toMatchObject({ iss: first, aud: url })
  for (const verb of ['pause', 'resume']) await run(['servers', verb, 'early'], behindProxy)
  const called = await bmm(['call', 'early', 'noSuchTool', '--data', data])
  expect([called.code, called.stderr]).toEqual([1, expect.stringContaining('no tool of that name')])
}, 180_000)
