/** An app on the AI SDK of Vercel, without any model: its MCP client alone. */
import {
  auth,
  createMCPClient,
  type OAuthClientInformation,
  type OAuthTokens,
  UnauthorizedError,
} from '@ai-sdk/mcp'
import { main, openApp } from './app.ts'

await main(async (url, file = '') => {
  using app = await openApp<OAuthTokens, OAuthClientInformation>('App on the AI SDK', file)
  const open = () =>
    createMCPClient({ transport: { type: 'http', url, authProvider: app.provider } })
  const client = await open().catch(async (thrown: unknown) => {
    if (!(thrown instanceof UnauthorizedError)) throw thrown
    const came = await app.cameBack()
    await auth(app.provider, {
      serverUrl: url,
      authorizationCode: came.get('code') ?? '',
      callbackState: came.get('state') ?? '',
      callbackIssuer: came.get('iss') ?? '',
    })
    return open()
  })
  const { tools } = await client.listTools()
  const { structuredContent } = await client.callTool({ name: 'add', arguments: { a: 19, b: 23 } })
  const { protocolVersion } = client.initializeResult
  await client.close()
  return {
    protocol: protocolVersion,
    tools: tools.map(({ name }) => name),
    answer: structuredContent,
  }
})
