/** The same echo tool as a server on standard input and output, for bridges that bring such servers to HTTP. */
import { McpServer } from '@modelcontextprotocol/server'
import { StdioServerTransport } from '@modelcontextprotocol/server/stdio'
import { z } from 'zod'

const server = new McpServer({ name: 'stdio', version: '1.0.0' })
server.registerTool(
  'echo',
  { description: 'Says the same again.', inputSchema: z.object({ text: z.string() }) },
  ({ text }) => ({ content: [{ type: 'text', text }] }),
)
await server.connect(new StdioServerTransport())
