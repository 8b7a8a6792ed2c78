/** What the platform is measured beside: servers of other people's making, each started and stopped by the bench. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findFreePort } from '@bmm/lib/free-port'
import { usedBelow } from './processor-time.ts'

const START_TIMEOUT_MS = 30_000
const POLL_MS = 50
const foreign = join(import.meta.dir, 'foreign')
const supergateway = join(foreign, 'node_modules/supergateway/dist/index.js')

export type Yardstick = AsyncDisposable & {
  url: URL
  /** Milliseconds of processor time of all its processes so far. */
  usedMs(): number
}

/** A server of ours that prints its port: the bare SDK, or the plain one. */
export async function startServer(program: 'bare-server' | 'plain-server'): Promise<Yardstick> {
  const path = new URL(`${program}.ts`, import.meta.url).pathname
  const child = Bun.spawn([process.execPath, path], { stdout: 'pipe', stderr: 'inherit' })
  const { value } = await child.stdout.getReader().read()
  const port = new TextDecoder().decode(value).trim()
  if (!/^\d+$/.test(port)) throw new Error(`${program} did not start`)
  return yardstick(new URL(`http://127.0.0.1:${port}/mcp`), [child.pid], () => ended(child))
}

/** nginx with lasting connections in front of a server, whose processor time counts with it. */
export async function startNginx(behind: Yardstick): Promise<Yardstick> {
  const program = Bun.which('nginx', { PATH: `${Bun.env.PATH ?? ''}:/usr/sbin` })
  if (program === null) throw new Error('nginx is not installed (apt-get install nginx-light)')
  const folder = mkdtempSync(join(tmpdir(), 'bmm-nginx-'))
  const port = findFreePort() ?? 0
  writeFileSync(join(folder, 'nginx.conf'), nginxConfig(folder, port, behind.url.port))
  const child = Bun.spawn([program, '-c', join(folder, 'nginx.conf'), '-p', folder], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const url = new URL(`http://127.0.0.1:${port}/mcp`)
  await answers(url)
  const before = behind.usedMs()
  return yardstick(
    url,
    [child.pid],
    async () => {
      await ended(child)
      rmSync(folder, { recursive: true, force: true })
    },
    () => behind.usedMs() - before,
  )
}

function nginxConfig(folder: string, port: number, behind: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `
daemon off; master_process off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 1000000;
  ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')}
  upstream bare { server 127.0.0.1:${behind}; keepalive 64; keepalive_requests 1000000; }
  server {
    listen 127.0.0.1:${port};
    location / { proxy_pass http://bare; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}`
}

/** supergateway with the echo tool on standard input and output, and the session that its calls belong to. */
export async function startSupergateway(): Promise<{ bridge: Yardstick; session: string }> {
  await installForeign()
  const port = findFreePort() ?? 0
  const tool = `${process.execPath} ${join(import.meta.dir, 'stdio-server.ts')}`
  const child = Bun.spawn(
    [
      ...['node', supergateway, '--stdio', tool, '--outputTransport', 'streamableHttp'],
      ...['--stateful', '--port', String(port), '--logLevel', 'none'],
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  )
  const url = new URL(`http://127.0.0.1:${port}/mcp`)
  await answers(url)
  const session = await openSession(url)
  return { bridge: yardstick(url, [child.pid], () => ended(child, 'SIGTERM')), session }
}

async function installForeign(): Promise<void> {
  if (existsSync(supergateway)) return
  if (Bun.env.BMM_NO_INSTALL === '1') {
    throw new Error('bench/foreign lacks its packages, and BMM_NO_INSTALL=1 forbids installing')
  }
  process.stderr.write('installing the packages of bench/foreign (bun install)\n')
  const child = Bun.spawn([process.execPath, 'install', '--frozen-lockfile'], {
    cwd: foreign,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if ((await child.exited) !== 0) throw new Error('bench/foreign could not be installed')
}

async function openSession(url: URL): Promise<string> {
  const init = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: clientInfo }
  const answer = await rpc(url, { id: 0, method: 'initialize', params: init })
  await answer.text()
  const session = answer.headers.get('mcp-session-id')
  if (session === null) throw new Error('supergateway opened no session')
  await rpc(url, { method: 'notifications/initialized' }, { 'mcp-session-id': session })
  return session
}

const clientInfo = { name: 'bench', version: '1' }

function rpc(url: URL, message: object, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...headers,
    },
    body: JSON.stringify({ jsonrpc: '2.0', ...message }),
  })
}

async function answers(url: URL): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS
  for (;;) {
    try {
      await (await fetch(url)).body?.cancel()
      return
    } catch (error) {
      if (performance.now() > deadline) throw error
      await Bun.sleep(POLL_MS)
    }
  }
}

function yardstick(
  url: URL,
  roots: number[],
  stop: () => Promise<void>,
  more: () => number = () => 0,
): Yardstick {
  return {
    url,
    usedMs: () => roots.reduce((sum, root) => sum + usedBelow(root), more()),
    [Symbol.asyncDispose]: stop,
  }
}

async function ended(child: Bun.Subprocess, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  child.kill(signal)
  await child.exited
}
