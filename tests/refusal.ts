/** What every refusal owes to the person who gets it: the right status, a sentence, and nothing of what was sent. */
import { connect } from 'node:net'
import { z } from 'zod'
import { type Answer, answerOf } from './account.ts'
import type { Stack } from './stack.ts'

/** Put into whatever is sent wrongly: it must never come back. */
export const canary = 'cnry5ecret8741'

/** Words, not a code; it may start with the place of the fault and end with a command. */
const sentence = /^\S.*\s\S+\s\S/s
const problemSchema = z.object({
  status: z.number(),
  code: z.string().regex(/^[a-z][a-z0-9_]*$/),
  detail: z.string(),
  requestId: z.string(),
  errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
})
const rpcSchema = z.object({
  jsonrpc: z.literal('2.0'),
  id: z.union([z.string(), z.number(), z.null()]),
  error: z.object({ code: z.number(), message: z.string() }),
})
const oauthSchema = z.object({ error: z.string(), error_description: z.string() })

export type Refused = { status: number; code: string; said: string }

/** Of the REST API (RFC 9457). Throws when it is no such answer. */
export function problemOf(answer: Answer): Refused {
  const { status, code, detail } = problemSchema.parse(checked(answer))
  if (status !== answer.status) throw new Error(`the body says ${status}: ${answer.text}`)
  if (answer.headers.get('content-type') !== 'application/problem+json') {
    throw new Error(`a problem has the type ${answer.headers.get('content-type')}`)
  }
  return refused(answer, code, detail)
}

/** Of the MCP endpoint. */
export function rpcFaultOf(answer: Answer): Refused {
  const { code, message } = rpcSchema.parse(checked(answer)).error
  return refused(answer, String(code), message)
}

/** Of the OAuth endpoints that programs use. */
export function oauthFaultOf(answer: Answer): Refused {
  const { error, error_description } = oauthSchema.parse(checked(answer))
  return refused(answer, error, error_description)
}

/** Of a page for people. */
export function pageFaultOf(answer: Answer): Refused {
  checked(answer)
  const said = /<p[^>]*>([^<]+)<\/p>/.exec(answer.text)?.[1] ?? ''
  return refused(answer, 'page', said)
}

function refused({ status, text }: Answer, code: string, said: string): Refused {
  if (!sentence.test(said)) throw new Error(`no sentence: ${text}`)
  return { status, code, said }
}

function checked({ status, json, text }: Answer): unknown {
  if (status >= 500) throw new Error(`a fault of ours: ${status} ${text}`)
  if (text.includes(canary)) throw new Error(`it says what was sent: ${text}`)
  if (/\n\s+at |\/services\/|node_modules|ZodError|SyntaxError/.test(text)) {
    throw new Error(`it shows our insides: ${text}`)
  }
  return json
}

/** A body that no client library would send as it is. */
export async function send(
  url: string,
  init: { method?: string; body?: string | Uint8Array; headers?: Record<string, string> },
): Promise<Answer> {
  const { method = 'POST', body, headers = {} } = init
  const payload = typeof body === 'string' ? Buffer.from(body) : body
  return answerOf(
    await fetch(url, {
      method,
      headers,
      redirect: 'manual',
      ...(payload === undefined ? {} : { body: payload }),
    }),
  )
}

/** A second answer on the same connection would come at once. */
const SETTLED_MS = 300
const SILENT_MS = 3_000

/** Bytes on a connection of their own; answers what came back until it was closed, or in a moment. */
export async function sendRaw(stack: Stack, text: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  let answer = ''
  const socket = connect(Number(new URL(stack.gateway).port), '127.0.0.1')
  socket.setTimeout(SILENT_MS, () => socket.destroy())
  socket.on('data', (chunk) => {
    answer += chunk.toString('latin1')
    if (answer.includes('\r\n\r\n')) setTimeout(() => socket.destroy(), SETTLED_MS)
  })
  socket.on('error', () => socket.destroy())
  socket.on('close', () => resolve(answer))
  socket.write(text, 'latin1')
  return promise
}

/** Tries to open a WebSocket and answers the status of the handshake; 101 is a success. */
export async function handshake(
  stack: Stack,
  path: string,
  headers: Record<string, string>,
): Promise<{ status: number; text: string }> {
  const { host } = new URL(stack.gateway)
  const lines = Object.entries({
    host,
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`)
  const text = await sendRaw(stack, `GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`)
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? '0'), text }
}
