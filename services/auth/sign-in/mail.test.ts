/** Both senders: a mailbox folder, and SMTP against a server that speaks the protocol. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { outcomeOf } from '@bmm/lib/testing-outcome'
import { linkMail } from './magic-link.ts'
import { mailboxSender, smtpSender } from './mail.ts'

const mail = linkMail('ada@example.com', 'http://localhost:8787', 'bml_secret')

test('the mail carries the link in both forms, and nothing of it can become markup', () => {
  expect(mail.text).toContain('http://localhost:8787/login/finish?token=bml_secret\n')
  expect(mail.html).toContain('href="http://localhost:8787/login/finish?token=bml_secret"')
  expect(mail.subject).not.toContain('bml_')
  expect(linkMail('a@b.example', 'https://x.example', 'a"><b&').html).not.toContain('<b')
})

describe('the mailbox folder', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'bmm-mailbox-'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  test('gets one whole private file a mail', async () => {
    const at = Date.UTC(2026, 10, 22)
    const send = mailboxSender(folder, () => at)
    await Promise.all(Array.from({ length: 10 }, () => send(mail)))
    const files = readdirSync(folder)
    expect(files).toHaveLength(10)
    for (const file of files) {
      expect(file).toMatch(new RegExp(`^${at}-[0-9a-f]{16}\\.json$`))
      expect(statSync(join(folder, file)).mode & 0o777).toBe(0o600)
      const stored: unknown = JSON.parse(readFileSync(join(folder, file), 'utf8'))
      expect(stored).toEqual({ ...mail, at: '2026-11-22T00:00:00.000Z' })
    }
  })

  test('that is not there is an error, not a lost mail', async () => {
    expect(await outcomeOf(mailboxSender(join(folder, 'nowhere'), Date.now)(mail))).toThrow(
      'ENOENT',
    )
  })
})

describe('SMTP', () => {
  let server: Server
  let url: string
  const received: string[] = []
  const sockets = new Set<Socket>()

  beforeAll(async () => {
    server = createServer((socket) => {
      sockets.add(socket)
      serve(socket, received)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    url = `smtp://127.0.0.1:${address.port}`
  })
  afterAll(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })

  const send = (to: string, requireTls = false) =>
    smtpSender({ url, from: 'Build My MCP <login@example.com>', requireTls })({ ...mail, to })

  test('hands the mail over', async () => {
    expect(await send('ada@example.com')).toBe('sent')
    const text = received.join('\n')
    expect(text).toContain('MAIL FROM:<login@example.com>')
    expect(text).toContain('RCPT TO:<ada@example.com>')
    expect(text).toContain('Subject: Sign in to Build My MCP (localhost:8787)')
    expect(text.replaceAll('=\n', '').replaceAll('=3D', '=')).toContain(
      '/login/finish?token=bml_secret',
    )
  })

  test('tells a refused address from a sender that does not work', async () => {
    expect(await send('nobody@example.com')).toBe('refused')
    expect(await outcomeOf(send('later@example.com'))).toThrow()
    const dead = smtpSender({ url: 'smtp://127.0.0.1:1', from: 'a@b.example', requireTls: false })
    expect(await outcomeOf(dead(mail))).toThrow()
  })

  test('sends nothing in clear where TLS is required', async () => {
    received.length = 0
    expect(await outcomeOf(send('ada@example.com', true))).toThrow()
    expect(received.join('\n')).not.toContain('RCPT')
  })
})

/** The part of RFC 5321 that a client needs; `nobody` is unknown for good, `later` for now. */
function serve(socket: Socket, received: string[]): void {
  let inData = false
  let rest = ''
  const reply = (line: string) => socket.write(`${line}\r\n`)
  socket.on('error', () => {})
  reply('220 test')
  socket.on('data', (chunk) => {
    const lines = (rest + chunk.toString('utf8')).split('\r\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      received.push(line)
      if (inData) {
        if (line !== '.') continue
        inData = false
        reply('250 taken')
      } else if (line.startsWith('RCPT TO:<nobody')) reply('550 no such user')
      else if (line.startsWith('RCPT TO:<later')) reply('451 try later')
      else if (line === 'DATA') {
        inData = true
        reply('354 go on')
      } else if (line === 'STARTTLS') reply('502 no TLS here')
      else if (line === 'QUIT') socket.end('221 bye\r\n')
      else reply('250 ok')
    }
  })
}
