import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import type net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import { egressFetch } from './egress.ts'
import { openEgressPool } from './egress-pool.ts'
import { failure, okAnswer, toLoopback } from './testing-egress.ts'
import { listening, makeCertificates, serveRaw } from './testing-upstream.ts'

const closers: (() => void)[] = []
afterAll(() => {
  for (const close of closers) close()
})

describe('TLS', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bmm-egress-'))
  let certificates = { ca: '', key: '', cert: '' }
  let port = 0
  const names: string[] = []

  beforeAll(async () => {
    certificates = makeCertificates(folder)
    port = await listening(tlsServer())
    await listening(tlsServer(), '127.0.0.2', port)
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  function tlsServer(): net.Server {
    const options: tls.TlsOptions = {
      key: certificates.key,
      cert: certificates.cert,
      ALPNProtocols: ['h2', 'http/1.1'],
      SNICallback: (name, done) => {
        names.push(name)
        done(null)
      },
    }
    const server = tls.createServer(options, (socket) => {
      names.push(`alpn:${socket.alpnProtocol}`)
      serveRaw(socket, names, okAnswer)
    })
    server.on('tlsClientError', () => {})
    closers.push(() => server.close())
    return server
  }

  /** The outcome in a process of its own, whose environment decides about trust. */
  async function outcomeUnder(env: Record<string, string>): Promise<string> {
    const script = `
      import { egressFetch } from ${JSON.stringify(join(import.meta.dir, 'egress.ts'))}
      const policy = { resolve: async () => ['127.0.0.1'], isTargetAllowed: () => true, ownListeners: [] }
      const answer = egressFetch('https://api.example.com:${port}/', { policy })
      await Bun.write(Bun.stdout, await answer.then(({ status }) => String(status), ({ code }) => code))`
    const child = Bun.spawn([process.execPath, '-e', script], { env, stderr: 'ignore' })
    return await new Response(child.stdout).text()
  }

  function secure(host: string, extraCa: string[]) {
    const own = openEgressPool({ extraCa })
    closers.push(own.close)
    return egressFetch(`https://${host}:${port}/`, {
      policy: { ...toLoopback, isTargetAllowed: () => true },
      connections: { pool: own, key: 'k' },
      headers: [['Host', 'other.example.com']],
    })
  }

  test('Host, SNI and the checked certificate name are the name of the URL', async () => {
    names.length = 0
    const answer = await secure('api.example.com', [certificates.ca])
    expect(answer.status).toBe(200)
    expect(names.slice(0, 2)).toEqual(['api.example.com', 'alpn:http/1.1'])
    expect(names[2]).toContain(`host: api.example.com:${port}\r\n`)
    expect(names[2]).not.toContain('other.example.com')
  })

  test('a certificate for another name or by an unknown authority is refused', async () => {
    expect((await failure(secure('other.example.com', [certificates.ca]))).code).toBe('tls_failed')
    expect((await failure(secure('127.0.0.2', [certificates.ca]))).code).toBe('tls_failed')
    expect((await failure(secure('api.example.com', []))).code).toBe('tls_failed')
  })

  test('the environment can add an authority, but not switch the check off or go through a proxy', async () => {
    expect(await outcomeUnder({ NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem') })).toBe('200')
    const proxy = 'http://127.0.0.1:9'
    const proxied = { HTTPS_PROXY: proxy, https_proxy: proxy, NODE_USE_ENV_PROXY: '1' }
    expect(await outcomeUnder({ NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem'), ...proxied })).toBe(
      '200',
    )
    expect(await outcomeUnder({ NODE_TLS_REJECT_UNAUTHORIZED: '0' })).toBe('tls_failed')
  })

  test('an address as host must stand in the certificate', async () => {
    expect((await secure('127.0.0.1', [certificates.ca])).status).toBe(200)
  })
})
