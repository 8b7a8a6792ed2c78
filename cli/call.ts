/** `call` and `token`: a server's real endpoint, with a bearer from the real code flow. */
import type { Command } from 'commander'
import { z } from 'zod'
import { accessToken } from './access-token.ts'
import { failed, misused } from './fault.ts'
import { parseJson } from './json.ts'
import { print, printFault, printJson } from './output.ts'
import { type Gateway, reach } from './reach.ts'
import { serverArgument } from './server-argument.ts'
import { serverOf } from './servers.ts'
import { type SignedIn, signedInPerson } from './session.ts'
import { dataOption } from './up.ts'

const PROTOCOL_VERSION = '2026-07-28'
const CALL_TIMEOUT_MS = 180_000
/** JSON-RPC 2.0 section 5.1; for a tool that is not there, too. */
const INVALID_PARAMS = -32602

const resultSchema = z.looseObject({
  content: z.array(z.looseObject({ type: z.string(), text: z.string().optional() })).default([]),
  isError: z.boolean().optional(),
})
export type ToolResult = z.infer<typeof resultSchema>
const answerSchema = z.union([
  z.object({ result: resultSchema }),
  z.object({ error: z.object({ code: z.number(), message: z.string() }) }),
])

type Common = { data: string; json?: boolean }

/** Adds the commands to the program. */
export function addCallCommands(program: Command): void {
  program
    .command('call')
    .description('call a tool through the real endpoint')
    .addArgument(serverArgument())
    .argument('<tool>', 'its name')
    .argument('[arguments]', 'as JSON', '{}')
    .addOption(dataOption())
    .option('--json', 'the whole result as one line of JSON')
    .action(call)
  program
    .command('token')
    .description('print a bearer for a server, valid for a few minutes')
    .addArgument(serverArgument())
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(token)
}

async function call(slug: string, tool: string, text: string, options: Common): Promise<void> {
  const args = parseArguments(text)
  const access = signedInPerson(options.data)
  const url = await liveUrl(slug, access)
  const { access_token } = await accessToken(url, access)
  const result = await callTool(access.gateway, url, access_token, tool, args)
  if (options.json === true) printJson(result)
  else for (const part of result.content) print(part.text ?? `(${part.type})`)
  if (result.isError !== true) return
  const fault = failed('tool_error', `${tool} answered with an error.`)
  // The result is the one line of JSON already.
  printFault(fault, { json: false })
  process.exitCode = fault.exitCode
}

async function token(slug: string, options: Common): Promise<void> {
  const access = signedInPerson(options.data)
  const url = await liveUrl(slug, access)
  const { access_token, expires_in } = await accessToken(url, access)
  if (options.json === true) printJson({ token: access_token, expiresInSeconds: expires_in, url })
  else print(access_token)
}

/** The address of a server that serves. */
async function liveUrl(slug: string, access: SignedIn): Promise<string> {
  const { state, url } = await serverOf(slug, access)
  if (state === 'live') return url
  const remedy = state === 'paused' ? `resume ${slug}` : `show ${slug}`
  throw failed('server_not_live', `${slug} is not live but ${state}.`, {
    next: `servers ${remedy}`,
  })
}

/** One tools/call of the stateless era. Throws CommandFault for an error of the protocol. */
export async function callTool(
  gateway: Gateway,
  url: string,
  bearer: string,
  tool: string,
  args: Record<string, unknown>,
): Promise<ToolResult> {
  const response = await reach(gateway, url, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${bearer}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': PROTOCOL_VERSION,
      'mcp-method': 'tools/call',
      'mcp-name': tool,
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: {
        name: tool,
        arguments: args,
        _meta: {
          'io.modelcontextprotocol/protocolVersion': PROTOCOL_VERSION,
          'io.modelcontextprotocol/clientCapabilities': {},
        },
      },
    }),
    signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
  }).catch(() => {
    throw failed(
      'gateway_down',
      `${url} ended during the call or did not answer in time, though its stack was up a moment ago. Whether the tool ran is open.`,
    )
  })
  const text = await response.text()
  const events = response.headers.get('content-type')?.startsWith('text/event-stream') === true
  const answer = answerSchema.safeParse(parseJson(events ? lastEvent(text) : text))
  if (!answer.success) throw failed('call_refused', `The server answered ${response.status}.`)
  if ('result' in answer.data) return answer.data.result
  const { code, message } = answer.data.error
  const slug = new URL(url).pathname.split('/')[2]
  throw failed('call_refused', message, {
    next: code === INVALID_PARAMS ? `servers tools ${slug}` : undefined,
  })
}

function parseArguments(text: string): Record<string, unknown> {
  const value = z.record(z.string(), z.unknown()).safeParse(parseJson(text))
  if (value.success) return value.data
  throw misused(`The arguments must be a JSON object, such as '{"id": 1}'.`)
}

function lastEvent(text: string): string {
  const data = text.split('\n').filter((line) => line.startsWith('data: '))
  return data.at(-1)?.slice('data: '.length) ?? ''
}
