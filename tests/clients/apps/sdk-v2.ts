/** An app on the official SDK, version 2; the third word on its command line is the era that it speaks. */
import {
  Client,
  type StoredOAuthClientInformation,
  type StoredOAuthTokens,
  StreamableHTTPClientTransport,
  UnauthorizedError,
} from '@modelcontextprotocol/client'
import { main, openApp } from './app.ts'

await main(async (url, file = '', era) => {
  const mode = era === 'legacy' ? 'legacy' : 'auto'
  using app = await openApp<StoredOAuthTokens, StoredOAuthClientInformation>('App on SDK v2', file)
  const newClient = () =>
    new Client({ name: 'app-v2', version: '1.0.0' }, { versionNegotiation: { mode } })
  const transport = () =>
    new StreamableHTTPClientTransport(new URL(url), { authProvider: app.provider })
  const first = transport()
  let client = newClient()
  try {
    await client.connect(first)
  } catch (thrown) {
    if (!(thrown instanceof UnauthorizedError)) throw thrown
    await first.finishAuth(await app.cameBack())
    client = newClient()
    await client.connect(transport())
  }
  const { tools } = await client.listTools()
  const { structuredContent } = await client.callTool({ name: 'add', arguments: { a: 19, b: 23 } })
  return {
    protocol: client.getNegotiatedProtocolVersion() ?? '',
    tools: tools.map(({ name }) => name),
    answer: structuredContent,
  }
})
