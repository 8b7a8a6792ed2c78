/** Upstreams that say any bytes, and a certificate authority, for tests of what reaches the outside. */
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'

export type Answer = string | Buffer | ((request: string, socket: net.Socket) => void)

export type RawUpstream = {
  port: number
  /** Whole requests as received, head and body, Latin-1. */
  requests: string[]
  connections: number
  sockets: net.Socket[]
  close(): void
}

/** Listens on loopback and answers each request with exactly these bytes. */
export async function rawUpstream(answer: Answer): Promise<RawUpstream> {
  const requests: string[] = []
  const server = net.createServer((socket) => {
    upstream.connections++
    upstream.sockets.push(socket)
    serveRaw(socket, requests, answer)
  })
  const port = await listening(server)
  const upstream: RawUpstream = {
    ...{ port, requests, connections: 0, sockets: [] },
    close() {
      server.close()
      for (const socket of upstream.sockets) socket.destroy()
    },
  }
  return upstream
}

/** Collects requests of one connection and answers them. */
export function serveRaw(socket: net.Socket, requests: string[], answer: Answer): void {
  socket.on('error', () => {})
  let seen = ''
  socket.on('data', (chunk) => {
    seen += chunk.toString('latin1')
    const head = seen.indexOf('\r\n\r\n')
    const length = Number(/content-length: (\d+)/i.exec(seen)?.[1] ?? 0)
    if (head < 0 || seen.length < head + 4 + length) return
    const request = seen
    requests.push(request)
    seen = ''
    if (typeof answer === 'function') answer(request, socket)
    else socket.write(answer)
  })
}

/** The port, once the server listens. */
export async function listening(server: net.Server, host = '127.0.0.1', port = 0): Promise<number> {
  await new Promise<void>((resolve) => server.listen(port, host, resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  return address.port
}

/** Writes ca.pem, server.key and server.pem (api.example.com, 127.0.0.1; two days) into the folder, by openssl. */
export function makeCertificates(folder: string): { ca: string; key: string; cert: string } {
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const run = (...args: string[]) => {
    const done = Bun.spawnSync(['openssl', ...args], { cwd: folder, stderr: 'pipe' })
    if (done.exitCode !== 0) throw new Error(`openssl ${args[0]}: ${done.stderr}`)
  }
  run(
    'req',
    '-x509',
    ...curve,
    '-days',
    '2',
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
    '-subj',
    '/CN=test',
  )
  run(
    'req',
    ...curve,
    '-keyout',
    'server.key',
    '-out',
    'server.csr',
    '-subj',
    '/CN=api.example.com',
    '-addext',
    'subjectAltName=DNS:api.example.com,IP:127.0.0.1',
  )
  run(
    'x509',
    '-req',
    '-in',
    'server.csr',
    '-CA',
    'ca.pem',
    '-CAkey',
    'ca.key',
    '-CAcreateserial',
    '-days',
    '2',
    '-copy_extensions',
    'copy',
    '-out',
    'server.pem',
  )
  const file = (name: string) => readFileSync(join(folder, name), 'utf8')
  return { ca: file('ca.pem'), key: file('server.key'), cert: file('server.pem') }
}
