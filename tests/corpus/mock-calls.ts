/** Every operation of a document, called as a tool of a live server, and what came of it. */
import { z } from 'zod'
import type { Platform } from '../platform.ts'
import type { CorpusDocument } from './documents.ts'
import { exampleInput } from './example-input.ts'
import type { Mocks } from './mocks.ts'

const PROTOCOL_VERSION = '2026-07-28'
const MAX_TOLD = 600
const toolSchema = z.object({
  name: z.string(),
  inputSchema: z.record(z.string(), z.unknown()),
})
const listSchema = z.object({
  result: z.object({ tools: z.array(toolSchema), nextCursor: z.string().optional() }),
})
const callSchema = z.object({
  result: z
    .object({
      isError: z.boolean().optional(),
      content: z.array(z.looseObject({ text: z.string().optional() })),
    })
    .optional(),
  error: z.object({ message: z.string() }).optional(),
})

export type MockCall = {
  api: string
  tool: string
  input: Record<string, unknown>
  answered: boolean
  /** What the client was told, and what the mock minded, when it was not answered. */
  told: string
}

/** Calls each tool of a server once, one after the other. */
export async function callAll(
  platform: Platform,
  served: { document: CorpusDocument; url: string },
  mocks: Mocks,
): Promise<MockCall[]> {
  const { url, document } = served
  const token = await platform.token(url, platform.builder)
  const ask = (method: string, params: Record<string, unknown>, name?: string) =>
    post(url, token, method, params, name)
  const calls: MockCall[] = []
  for (const { name, inputSchema } of await listTools(ask)) {
    const input = exampleInput(inputSchema)
    mocks.complaints()
    const answer = callSchema.parse(await ask('tools/call', { name, arguments: input }, name))
    const answered = answer.result !== undefined && answer.result.isError !== true
    const said = answer.error?.message ?? answer.result?.content[0]?.text ?? ''
    const told = answered ? '' : `${said} ${violationsIn(mocks.complaints())}`.slice(0, MAX_TOLD)
    calls.push({ api: document.name, tool: name, input, answered, told })
  }
  return calls
}

type Ask = (method: string, params: Record<string, unknown>, name?: string) => Promise<unknown>

async function listTools(ask: Ask): Promise<z.infer<typeof toolSchema>[]> {
  const tools: z.infer<typeof toolSchema>[] = []
  let cursor: string | undefined
  do {
    const { result } = listSchema.parse(
      await ask('tools/list', cursor === undefined ? {} : { cursor }),
    )
    tools.push(...result.tools)
    cursor = result.nextCursor
  } while (cursor !== undefined)
  return tools
}

async function post(
  url: string,
  token: string,
  method: string,
  params: Record<string, unknown>,
  name?: string,
): Promise<unknown> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': PROTOCOL_VERSION,
      'mcp-method': method,
      ...(name === undefined ? {} : { 'mcp-name': name }),
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method,
      params: {
        ...params,
        _meta: {
          'io.modelcontextprotocol/protocolVersion': PROTOCOL_VERSION,
          'io.modelcontextprotocol/clientCapabilities': {},
          'io.modelcontextprotocol/clientInfo': { name: 'corpus', version: '1' },
        },
      },
    }),
  })
  const text = await answer.text()
  if (answer.ok) return JSON.parse(text)
  return { error: { message: `${answer.status} ${text}` } }
}

function violationsIn(complaints: string): string {
  return [...complaints.matchAll(/"msg":"(Violation: [^"]*)"/g)].map(([, text]) => text).join('; ')
}
