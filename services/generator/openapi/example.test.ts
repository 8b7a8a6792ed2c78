import { describe, expect, test } from 'bun:test'
import { drafted, oneOperation, toolOf } from './testing.ts'

const text = { type: 'string' }

function propertiesOf(operation: object, components: object = {}) {
  return toolOf(drafted(oneOperation(operation, { components })), 'run').inputSchema.properties
}

describe('an example beside the schema', () => {
  test('of a parameter reaches the model', () => {
    const parameters = [
      { name: 'route', in: 'query', example: 'MUC-JFK', schema: text },
      { name: 'range', in: 'query', examples: { week: { value: '2026W01' } }, schema: text },
      {
        name: 'named',
        in: 'query',
        examples: { a: { $ref: '#/components/examples/a' } },
        schema: text,
      },
      {
        name: 'json',
        in: 'query',
        content: { 'application/json': { example: { a: 1 }, schema: {} } },
      },
      { name: 'own', in: 'query', example: 'new', schema: { ...text, example: 'old' } },
    ]
    expect(propertiesOf({ parameters }, { examples: { a: { value: 'x' } } })).toMatchObject({
      route: { examples: ['MUC-JFK'] },
      range: { examples: ['2026W01'] },
      named: { examples: ['x'] },
      json: { examples: [{ a: 1 }] },
      own: { examples: ['new'] },
    })
  })

  test('of a body reaches its fields, and its description the tool', () => {
    const requestBody = {
      description: 'The booking; the airports are IATA codes.',
      content: {
        'application/json': {
          schema: {
            type: 'object',
            properties: { query: text, own: { ...text, example: 'o' }, whole: text },
            example: { own: 'not this', whole: 'w' },
          },
          example: { query: 'MUC>JFK' },
        },
      },
    }
    const { inputSchema, description } = toolOf(drafted(oneOperation({ requestBody })), 'run')
    expect(inputSchema.properties).toMatchObject({
      query: { examples: ['MUC>JFK'] },
      own: { examples: ['o'] },
      whole: { examples: ['w'] },
    })
    expect(description).toContain('Request body: The booking; the airports are IATA codes.')
  })

  test('of a body that stays whole reaches the body', () => {
    const schema = { type: 'object', additionalProperties: text }
    const requestBody = { content: { 'application/json': { schema, example: { a: 'b' } } } }
    expect(propertiesOf({ requestBody })).toMatchObject({ body: { examples: [{ a: 'b' }] } })
  })

  test('of another type than the schema is no example', () => {
    const parameters = [{ name: 'n', in: 'query', example: 'x', schema: { type: 'integer' } }]
    expect(propertiesOf({ parameters })).toEqual({ n: { type: 'integer' } })
  })
})

test('a description beside a reference overrides that of what it names', () => {
  const components = {
    parameters: { p: { name: 'p', in: 'query', description: 'General', schema: text } },
    requestBodies: {
      b: { description: 'General', content: { 'text/plain': { schema: text } } },
    },
    schemas: { S: { ...text, description: 'General' } },
  }
  const operation = {
    parameters: [
      { $ref: '#/components/parameters/p', description: 'Special' },
      {
        name: 's',
        in: 'query',
        schema: { $ref: '#/components/schemas/S', description: 'Special' },
      },
    ],
    requestBody: { $ref: '#/components/requestBodies/b', description: 'Special body' },
  }
  expect(propertiesOf(operation, components)).toMatchObject({
    p: { description: 'Special' },
    s: { description: 'Special' },
    body: { description: expect.stringContaining('Special body') },
  })
})
