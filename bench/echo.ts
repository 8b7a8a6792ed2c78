/** The echo server: one code tool that says its text again. */
import type { ServerSpec } from '@bmm/spec/server-spec'

export const echoSpec: ServerSpec = {
  specVersion: 1,
  name: 'Echo',
  description: 'Says the same again.',
  tools: [
    {
      name: 'echo',
      description: 'Says the same again.',
      inputSchema: {
        type: 'object',
        properties: { text: { type: 'string' } },
        required: ['text'],
        additionalProperties: false,
      },
      implementation: 'return input.text',
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
