/** `demo`: the main job from end to end, on an API of its own that demands a key. */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { clientSetups } from '@bmm/spec/client-setup'
import { meAnswer, serversAnswer } from '@bmm/spec/rest-answer'
import type { Command } from 'commander'
import { z } from 'zod'
import { accessToken } from './access-token.ts'
import { ask } from './api.ts'
import { callTool } from './call.ts'
import { checkout } from './config.ts'
import { CREDENTIAL, teaShopDocument } from './demo/tea-shop.ts'
import { CommandFault, failed } from './fault.ts'
import { bmm } from './hint.ts'
import { parseJson } from './json.ts'
import { signIn } from './login.ts'
import { allowTarget } from './operator.ts'
import { note, print, printJson, table } from './output.ts'
import { createServer } from './server-creation.ts'
import { findSession, type LocalStack, localStack, type SignedIn, signedInHere } from './session.ts'
import { anyFreePort } from './stack/settings.ts'
import { dataOption, joinStack } from './up.ts'

const EMAIL = 'demo@example.com'
const SLUG = 'tea-shop'
const SHOP_TIMEOUT_MS = 20_000
const POLL_MS = 25

const shopSchema = z.object({ port: z.number().int() })
const answerSchema = z.object({ name: z.literal('Gyokuro'), gramsInStock: z.literal(350) })

type Options = { data: string; json?: boolean }
type Shop = { port: number; keyFile: string; documentFile: string }

/** Adds the command to the program. */
export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description('from an OpenAPI document to an answered call, step by step, for real')
    .addOption(dataOption())
    .option('--json', 'one line of JSON at the end')
    .action(demo)
}

async function demo(options: Options): Promise<void> {
  const steps: { name: string; elapsedMs: number }[] = []
  const step = async <Result>(name: string, work: () => Promise<Result>): Promise<Result> => {
    const startedAt = performance.now()
    const result = await work()
    const elapsedMs = Math.round(performance.now() - startedAt)
    steps.push({ name, elapsedMs })
    note(`${String(elapsedMs).padStart(6)} ms  ${name}`)
    return result
  }
  const startedAt = performance.now()
  const stack = await step('the platform runs', () => ensureStack(options))
  const shop = await step(
    'a tea shop with an HTTP API runs, closed to everyone without its key',
    () => openShop(stack),
  )
  const access = await step('signed in by a mailed link', () => ensureSession(options.data))
  await step('the API is a private address: allowed once, as for any private API', async () => {
    const { org } = await ask(access.gateway, '/v1/me', meAnswer, access)
    await allowTarget(options.data, { host: '127.0.0.1', port: shop.port }, org.id)
  })
  const url = await step('its OpenAPI document is a live MCP server', () =>
    ensureServer(shop, access),
  )
  const { access_token } = await step(
    'a client has a token: registration, consent, code with PKCE',
    () => accessToken(url, access),
  )
  const result = await step('the tool getTea was called in its sandbox', () =>
    callTool(access.gateway, url, access_token, 'getTea', { id: 'gyokuro' }),
  )
  const text = result.content[0]?.text ?? ''
  const right = result.isError !== true && answerSchema.safeParse(parseJson(text)).success
  if (!right) throw failed('demo_failed', `The tool answered something else than expected: ${text}`)
  const totalMs = Math.round(performance.now() - startedAt)
  if (options.json === true) {
    printJson({
      ok: true,
      url,
      gateway: access.gateway.origin,
      data: stack.paths.data,
      steps,
      totalMs,
    })
    return
  }
  print(`\nThe answer: ${text}`)
  print(
    `The key went from the vault into the request; the sandbox never held it. ${totalMs} ms in all.`,
  )
  print(nextSteps(url, stack, access.email))
}

async function ensureStack(options: Options): Promise<LocalStack> {
  await joinStack({ data: options.data, tied: false })
  return localStack(options.data)
}

/** Starts the shop, or finds the one of an earlier demo: its port is part of the server's spec. */
async function openShop({ paths, report }: LocalStack): Promise<Shop> {
  const folder = join(paths.data, 'demo')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const shopFile = join(folder, 'shop.json')
  const keyFile = join(folder, 'key')
  const documentFile = join(folder, 'openapi.json')
  if (!existsSync(shopFile)) {
    const port = anyFreePort()
    writeFileSync(keyFile, randomBytes(16).toString('hex'), { mode: 0o600 })
    writeFileSync(documentFile, teaShopDocument(port))
    writeFileSync(shopFile, JSON.stringify({ port }))
  }
  const { port } = shopSchema.parse(JSON.parse(readFileSync(shopFile, 'utf8')))
  const shop = { port, keyFile, documentFile }
  if (await answers(shop)) return shop
  const main = join(checkout, 'cli/demo/main.ts')
  const bun = [process.execPath, '--no-env-file', '--no-install', main]
  const child = Bun.spawn([...bun, String(port), String(report.pid), keyFile], {
    stdio: ['ignore', 'ignore', 'ignore'],
    detached: true,
  })
  child.unref()
  const deadline = Date.now() + SHOP_TIMEOUT_MS
  while (Date.now() < deadline) {
    if (await answers(shop)) return shop
    await Bun.sleep(POLL_MS)
  }
  throw failed('demo_failed', `The demo's API does not start on port ${port}.`)
}

/** Whether this very shop is there: it takes the key, and refuses whoever has none. */
async function answers({ port, keyFile }: Shop): Promise<boolean> {
  const teas = `http://127.0.0.1:${port}/teas`
  const key = readFileSync(keyFile, 'utf8')
  try {
    const [known, stranger] = await Promise.all([
      fetch(teas, { headers: { 'x-api-key': key } }),
      fetch(teas),
    ])
    return known.status === 200 && stranger.status === 401
  } catch {
    return false
  }
}

/** Whoever is signed in stays signed in. */
async function ensureSession(data: string): Promise<SignedIn> {
  const { paths } = localStack(data)
  const email = findSession(paths)?.email ?? EMAIL
  if ((await signIn(data, email)) === undefined) {
    throw failed('demo_failed', 'Mail is really sent here: sign in first, then try again.', {
      next: 'login --email YOU@EXAMPLE.COM',
    })
  }
  return signedInHere(data)
}

/** The server of an earlier demo, or a new one: a slug is never given away twice. */
async function ensureServer(shop: Shop, access: SignedIn): Promise<string> {
  const { servers } = await ask(access.gateway, '/v1/servers?limit=100', serversAnswer, access)
  const mine = servers.filter((server) => server.slug.startsWith(SLUG))
  const live = mine.find((server) => server.state === 'live')
  if (live !== undefined) return live.url
  const credentials = [{ name: CREDENTIAL, value: readFileSync(shop.keyFile, 'utf8') }]
  const indented = (line: string) => note(`           ${line}`)
  const creation = {
    data: access.paths.data,
    openapi: shop.documentFile,
    access: 'org' as const,
    credentials,
  }
  const create = async (slug: string) =>
    (await createServer({ ...creation, slug }, access, indented)).url
  const another = `${SLUG}-${randomBytes(3).toString('hex')}`
  if (mine.length > 0) return create(another)
  try {
    return await create(SLUG)
  } catch (error) {
    if (!(error instanceof CommandFault) || error.code !== 'slug_taken') throw error
    note(`           ${SLUG} was given away before: it becomes ${another}`)
    return create(another)
  }
}

function nextSteps(url: string, { paths, report }: LocalStack, email: string): string {
  const name = new URL(url).pathname.split('/')[2] ?? SLUG
  const setups = clientSetups(name, url).map(({ client, text, file }) => [
    client,
    file === undefined ? text : `${file}: ${text}`,
  ])
  return `
MCP server   ${url}

${table(setups)}

The client asks you to sign in: as ${email}, by the link in the newest file of
${report.mailbox ?? 'your mailbox'}. (The server is for your organisation only.)

Again from the shell: ${bmm(`call ${name} listTeas '{"kind": "green"}'`, paths.data)}
Stop everything:      ${bmm('down', paths.data)}`
}
