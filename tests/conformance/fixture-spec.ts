/** The server that the official conformance suite asks for, as far as tools go: made like any other server. */
import type { ServerSpec } from '@bmm/spec/server-spec'

const png =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=='
const wav = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAAAAA=='

/** Exactly the schema of the suite's scenario json-schema-2020-12 (SEP-1613, SEP-2106). */
const schema2020 = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  $defs: {
    address: {
      $anchor: 'addressDef',
      type: 'object',
      properties: { street: { type: 'string' }, city: { type: 'string' } },
    },
  },
  properties: {
    name: { type: 'string' },
    address: { $ref: '#/$defs/address' },
    contactMethod: { type: 'string', enum: ['phone', 'email'] },
    phone: { type: 'string' },
    email: { type: 'string' },
  },
  allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
  if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
  // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
  then: { required: ['phone'] },
  else: { required: ['email'] },
  additionalProperties: false,
}

const none = { type: 'object', properties: {}, additionalProperties: false }

/** The fixture, as a hand-written spec with code tools. */
export const fixtureSpec: ServerSpec = {
  specVersion: 1,
  name: 'Conformance fixture',
  description: 'The tools that the official conformance suite calls.',
  tools: [
    tool('test_simple_text', `return 'This is a simple text response for testing.'`),
    tool(
      'test_image_content',
      `return ctx.result({ content: [{ type: 'image', data: '${png}', mimeType: 'image/png' }] })`,
    ),
    tool(
      'test_audio_content',
      `return ctx.result({ content: [{ type: 'audio', data: '${wav}', mimeType: 'audio/wav' }] })`,
    ),
    tool(
      'test_embedded_resource',
      `return ctx.result({ content: [{ type: 'resource', resource: {
        uri: 'test://embedded-resource', mimeType: 'text/plain', text: 'This is an embedded resource content.' } }] })`,
    ),
    tool(
      'test_multiple_content_types',
      `return ctx.result({ content: [
        { type: 'text', text: 'Multiple content types test:' },
        { type: 'image', data: '${png}', mimeType: 'image/png' },
        { type: 'resource', resource: { uri: 'test://mixed-content-resource', mimeType: 'application/json',
          text: '{"test":"data","value":123}' } }] })`,
    ),
    tool(
      'test_error_handling',
      `throw new Error('This tool intentionally returns an error for testing')`,
    ),
    tool(
      'test_tool_with_progress',
      `for (const done of [0, 50, 100]) {
        ctx.progress(done, 100)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      return 'Done with progress.'`,
    ),
    tool(
      'test_tool_with_logging',
      `const lines = ['Tool execution started', 'Tool processing data', 'Tool execution completed']
      for (const [index, line] of lines.entries()) {
        ctx.progress(index + 1, lines.length, line)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      return 'Done with logging.'`,
    ),
    tool('test_logging_tool', `ctx.log('A line for the owner of the server.'); return 'Logged.'`),
    tool('test_custom_header', `return input.region`, {
      type: 'object',
      properties: { region: { type: 'string', 'x-mcp-header': 'Region' } },
      required: ['region'],
      additionalProperties: false,
    }),
    tool('json_schema_2020_12_tool', `return JSON.stringify(input)`, schema2020),
  ],
  credentials: [],
  egress: [],
}

function tool(
  name: string,
  implementation: string,
  inputSchema: Record<string, unknown> = none,
): ServerSpec['tools'][number] {
  return {
    name,
    description: `Fixture tool ${name}.`,
    inputSchema,
    implementation,
    annotations: {
      readOnlyHint: true,
      destructiveHint: false,
      idempotentHint: true,
      openWorldHint: false,
    },
    examples: [],
  }
}
