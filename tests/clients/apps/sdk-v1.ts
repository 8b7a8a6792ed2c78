/** An app on the official SDK, version 1. */
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type {
  OAuthClientInformationMixed,
  OAuthTokens,
} from '@modelcontextprotocol/sdk/shared/auth.js'
import { main, openApp } from './app.ts'

await main(async (url, file = '') => {
  using app = await openApp<OAuthTokens, OAuthClientInformationMixed>('App on SDK v1', file)
  const transport = () =>
    new StreamableHTTPClientTransport(new URL(url), { authProvider: app.provider })
  const first = transport()
  let used = first
  let client = new Client({ name: 'app-v1', version: '1.0.0' })
  try {
    await client.connect(first)
  } catch (thrown) {
    if (!(thrown instanceof UnauthorizedError)) throw thrown
    await first.finishAuth((await app.cameBack()).get('code') ?? '')
    client = new Client({ name: 'app-v1', version: '1.0.0' })
    used = transport()
    await client.connect(used)
  }
  const { tools } = await client.listTools()
  const { structuredContent } = await client.callTool({ name: 'add', arguments: { a: 19, b: 23 } })
  return {
    protocol: used.protocolVersion ?? '',
    tools: tools.map(({ name }) => name),
    answer: structuredContent,
  }
})
