/** A stack whose sandboxes are containers: who reaches the engine, what the engine knows, and which deaths leave what. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { testDockerSocket } from '@bmm/lib/env'
import { until } from '@bmm/lib/testing-until'
import { z } from 'zod'
import {
  type Account,
  callTool,
  obtainTokens,
  type Served,
  serve,
  signUp,
  type Tokens,
  textOf,
} from './account.ts'
import { isReady, replaced, supervisorPid } from './children.ts'
import { hostileSpec } from './hostile-tool.ts'
import { openProber } from './probe.ts'
import { guestProcesses, stackGroup } from './processes.ts'
import { bmm, driverEnv, type Stack, startStack } from './stack.ts'
import { startUpstream, type Upstream } from './upstream.ts'

const apiKey = 'docker-canary-71f0ab3c'
const services = ['auth', 'secrets', 'generator', 'runner', 'broker', 'gateway']
const containersSchema = z.array(z.object({ Id: z.string() }))
const imagesSchema = z.array(z.unknown())
const inspectSchema = z.looseObject({
  Config: z.looseObject({ Env: z.array(z.string()).nullable() }),
})

let upstream: Upstream
let stack: Stack
let account: Account
let server: Served
let tokens: Tokens

beforeAll(async () => {
  upstream = startUpstream(apiKey)
  stack = await startStack('docker')
  await stack.run('targets', 'allow', upstream.target, '--everyone')
  account = await signUp(stack, 'docker@example.com')
  const spin = `await ctx.fetch('${upstream.origin}/items/spins').catch(() => {}); for (;;) {}`
  const spec = hostileSpec(upstream.origin, 'https://example.com', { spin })
  const credentials = [{ name: 'API_KEY', value: apiKey }]
  server = await serve(account, { source: { spec }, slug: 'docker', credentials })
  tokens = await obtainTokens(stack, account, server.url)
}, 180_000)
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
  await upstream?.[Symbol.asyncDispose]()
})

function engineSocket(): string {
  const socket = testDockerSocket()
  if (socket === undefined)
    throw new Error('there is no Docker engine: run the tests by ./bmm test')
  return socket
}

async function engine(path: string): Promise<{ text: string; json: unknown }> {
  const answer = await fetch(`http://docker${path}`, { unix: engineSocket(), keepalive: false })
  const text = await answer.text()
  return { text, json: JSON.parse(text) }
}

async function containers(): Promise<string[]> {
  const filters = JSON.stringify({ label: [`bmm.stack=${stackGroup(stack)}`] })
  const { json } = await engine(`/containers/json?all=true&filters=${encodeURIComponent(filters)}`)
  return containersSchema.parse(json).map(({ Id }) => Id)
}

const honest = () => callTool(server.url, tokens.accessToken, { name: 'honest' })

/** A call whose tool spins; answers what exists once it does, when the pool is full again. */
async function spinning(): Promise<{ guests: number[]; known: string[] }> {
  const asked = upstream.seen.length
  void callTool(server.url, tokens.accessToken, { name: 'spin' }).catch(() => {})
  await until(() => upstream.seen.length > asked, 'the tool to run')
  let [guests, known]: [number[], string[]] = [[], []]
  await until(async () => {
    ;[guests, known] = [await guestProcesses(stack), await containers()]
    return known.length > 0 && guests.length === known.length
  }, 'a guest in each container')
  return { guests, known }
}

test('up says that Docker makes the sandboxes, and why', async () => {
  const again = await stack.attempt('up', '--detach')
  expect(again.stdout).toMatch(
    /^driver {3}docker \(asked for by RUNNER_DRIVER: Docker \S+ at unix:/m,
  )
})

test('a call reaches the API with the key', async () => {
  expect(JSON.parse(textOf(await honest()))).toMatchObject({ status: 200, item: { id: '7' } })
  expect(upstream.seen.at(-1)?.headers['x-api-key']).toBe(apiKey)
})

test('the engine knows no secret: not by environment, arguments, labels or image', async () => {
  const secrets = [apiKey, tokens.accessToken, tokens.refreshToken, account.session, account.email]
  const ids = await containers()
  expect(ids.length).toBeGreaterThan(0)
  for (const id of ids) {
    const { text, json } = await engine(`/containers/${id}/json`)
    // Names alone: each takes away what the engine would have set.
    const { Env } = inspectSchema.parse(json).Config
    expect(Env?.filter((variable) => variable.includes('='))).toEqual([])
    expect(secrets.filter((secret) => text.includes(secret))).toEqual([])
  }
})

test('no service but the keeper reaches the engine', () => {
  using prober = openProber()
  const run = dirname(stack.mailbox)
  for (const name of services) {
    const { uid: user, gid: group } = statSync(join(run, 'rpc', name))
    expect([name, prober.succeeds({ user, group }, { connect: [engineSocket()] })]).toEqual([
      name,
      [],
    ])
  }
  const slot = { user: stack.firstSlotUser, group: stack.firstSlotUser }
  expect(prober.succeeds(slot, { connect: [engineSocket()] })).toEqual([])
})

test('kill -9 of the keeper ends every sandbox, one that spins as well, and calls are answered again', async () => {
  const { guests, known } = await spinning()
  await replaced(stack, 'keeper')
  await until(async () => {
    const now = await containers()
    return !known.some((id) => now.includes(id))
  }, 'the old containers are gone')
  const alive = await guestProcesses(stack)
  expect(guests.filter((pid) => alive.includes(pid))).toEqual([])
  await until(async () => (await honest()).text.includes('Item'), 'calls are answered')
})

test('kill -9 of the supervisor leaves no container, and the next up serves again', async () => {
  await spinning()
  process.kill(supervisorPid(stack), 'SIGKILL')
  await until(async () => (await containers()).length === 0, 'no container is left')
  expect(await guestProcesses(stack)).toEqual([])
  const words = ['up', '--data', stack.data, '--detach', '--json']
  const again = await bmm(words, { env: driverEnv('docker') })
  expect([again.code, JSON.parse(again.stdout)]).toEqual([
    0,
    expect.objectContaining({ driver: 'docker', gateway: stack.gateway }),
  ])
  await until(() => isReady(stack), 'it is ready')
  expect(JSON.parse(textOf(await honest()))).toMatchObject({ status: 200 })
})

test('down leaves no container and no image', async () => {
  const group = stackGroup(stack)
  await stack.run('down')
  expect(await containers()).toEqual([])
  const filters = encodeURIComponent(JSON.stringify({ reference: [group] }))
  expect(imagesSchema.parse((await engine(`/images/json?filters=${filters}`)).json)).toEqual([])
})
