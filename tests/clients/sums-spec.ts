/** The server that the clients use: one tool whose answer can be right or wrong. */
import type { ServerSpec } from '@bmm/spec/server-spec'

export const sumsSpec: ServerSpec = {
  specVersion: 1,
  name: 'Sums',
  description: 'Adds numbers.',
  tools: [
    {
      name: 'add',
      description: 'Adds two numbers.',
      inputSchema: {
        type: 'object',
        properties: { a: { type: 'number' }, b: { type: 'number' } },
        required: ['a', 'b'],
        additionalProperties: false,
      },
      implementation: `return ctx.result({
        content: [{ type: 'text', text: 'The sum is ' + (input.a + input.b) + '.' }],
        structuredContent: { sum: input.a + input.b },
      })`,
      annotations: {
        readOnlyHint: true,
        destructiveHint: false,
        idempotentHint: true,
        openWorldHint: false,
      },
      examples: [],
    },
  ],
  credentials: [],
  egress: [],
}
