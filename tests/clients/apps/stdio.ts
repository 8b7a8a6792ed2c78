/** An app that speaks MCP by standard input and output only, with the words of its command line as the server. */
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import { main } from './app.ts'

const PATIENCE_MS = 30_000

await main(async (command, ...args) => {
  let protocol = ''
  const transport: Transport = new StdioClientTransport({ command, args })
  transport.setProtocolVersion = (version) => {
    protocol = version
  }
  const client = new Client({ name: 'app-stdio', version: '1.0.0' })
  await client.connect(transport, { timeout: PATIENCE_MS })
  const { tools } = await client.listTools()
  const { structuredContent } = await client.callTool({ name: 'add', arguments: { a: 19, b: 23 } })
  await client.close()
  return {
    protocol,
    tools: tools.map(({ name }) => name),
    answer: structuredContent,
  }
})
