/** The proxies of README, as it has them, without the TLS: the name and the visitors get through. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findFreePort } from '@bmm/lib/free-port'
import { until } from '@bmm/lib/testing-until'
import { z } from 'zod'
import { bmm } from './stack.ts'

/** What one visitor may register in an hour, and a few more. */
const TOO_MANY = 64
const readme = readFileSync(join(import.meta.dir, '../README.md'), 'utf8')
let data: string
let port: number

beforeAll(async () => {
  data = mkdtempSync(join(tmpdir(), 'bmm-proxies-'))
  const env = { BMM_PUBLIC_URL: 'https://mcp.example.com', BMM_TRUSTED_PROXIES: '127.0.0.1,::1' }
  const words = ['up', '--detach', '--json', '--port', '0', '--data', data]
  const { stdout, stderr } = await bmm(words, { env })
  if (stdout === '') throw new Error(stderr)
  const { listen } = z.object({ listen: z.array(z.string()) }).parse(JSON.parse(stdout))
  port = Number(listen[0]?.split(':').at(-1))
}, 240_000)
afterAll(async () => {
  await bmm(['down', '--data', data])
  rmSync(data, { recursive: true, force: true })
}, 100_000)

function snippet(language: string): string {
  const text = readme.split(`\`\`\`${language}\n`)[1]?.split('```')[0]
  if (text === undefined) throw new Error(`README has no ${language}`)
  return text.replace('127.0.0.1:8787', `127.0.0.1:${port}`)
}

/** The command of each, with a file that has its snippet, to listen on a port without TLS. */
const proxies: Record<string, (at: number) => string[]> = {
  nginx(at) {
    const server = snippet('nginx')
      .replace('listen 443 ssl;', `listen 127.0.0.1:${at};`)
      .replace(/^ *ssl_certificate.*$/gm, '')
    const own = `daemon off; pid ${data}/nginx.pid; error_log stderr; events {}\nhttp { access_log off; client_body_temp_path ${data}/b; proxy_temp_path ${data}/p; fastcgi_temp_path ${data}/f; uwsgi_temp_path ${data}/u; scgi_temp_path ${data}/s;\n${server}}\n`
    const file = join(data, 'nginx.conf')
    writeFileSync(file, own)
    return ['nginx', '-p', data, '-e', 'stderr', '-c', file]
  },
  caddy(at) {
    const site = snippet('caddyfile').replace('mcp.example.com {', `http://mcp.example.com:${at} {`)
    const file = join(data, 'Caddyfile')
    writeFileSync(file, `{\n  admin off\n}\n${site}`)
    return ['caddy', 'run', '--adapter', 'caddyfile', '--config', file]
  },
}

type Sent = { path: string; from: string; headers?: Record<string, string>; body?: string }

function statusOf(at: number, { path, from, headers = {}, body }: Sent): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request({
      ...{ host: '127.0.0.1', port: at, path, localAddress: from },
      method: body === undefined ? 'GET' : 'POST',
      headers: { host: 'mcp.example.com', ...headers },
    })
    sent.on('error', reject)
    sent.on('response', (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
    sent.end(body)
  })
}

describe.each(Object.entries(proxies))('%s', (name, commandFor) => {
  test('passes the host on, and visitors who cannot forge their address', async () => {
    const at = findFreePort() ?? 0
    const child = Bun.spawn(commandFor(at), {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...Bun.env, HOME: data, LD_LIBRARY_PATH: Bun.env.BMM_TEST_LIBRARIES ?? '' },
    })
    try {
      const ask = (path: string) => statusOf(at, { path, from: '127.0.0.1' }).catch(() => 0)
      await until(async () => (await ask('/login')) === 200, 'the proxy to answer', 20_000)
      const [first, second] =
        name === 'nginx' ? ['127.0.0.2', '127.0.0.3'] : ['127.0.0.4', '127.0.0.5']
      const register = (from: string, forged: string) =>
        statusOf(at, {
          ...{ path: '/oauth/register', from },
          headers: {
            'content-type': 'application/json',
            'x-forwarded-for': forged,
            forwarded: `for=${forged}`,
          },
          body: '{"redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"none"}',
        })
      const statuses: number[] = []
      for (let tries = 0; tries < TOO_MANY; tries++) {
        statuses.push(await register(first ?? '', `203.0.113.${tries}`))
      }
      expect([statuses[0], statuses.at(-1)]).toEqual([201, 429])
      expect(await register(second ?? '', '203.0.113.1')).toBe(201)
      const ready = await (await fetch(`http://127.0.0.1:${port}/health/ready`)).json()
      expect(ready).toEqual({ status: 'ok' })
    } finally {
      child.kill()
      await child.exited
    }
  }, 120_000)
})
