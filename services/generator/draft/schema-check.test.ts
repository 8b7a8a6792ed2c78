/** Schemas that clients cannot compile are refused with their place; keys that some refuse are told. */
import { describe, expect, test } from 'bun:test'
import type { ServerSpec } from '@bmm/spec/server-spec'
import { schemaFault, unsafeKeys } from './schema-check.ts'

function specOf(
  inputSchema: Record<string, unknown>,
  outputSchema?: Record<string, unknown>,
): ServerSpec {
  const hint = true
  return {
    specVersion: 1,
    name: 'x',
    description: '',
    tools: [
      {
        name: 'phone',
        description: '',
        inputSchema,
        ...(outputSchema && { outputSchema }),
        annotations: {
          ...{
            readOnlyHint: hint,
            destructiveHint: hint,
            idempotentHint: hint,
            openWorldHint: hint,
          },
        },
        implementation: 'return 1',
        examples: [],
      },
    ],
    credentials: [],
    egress: [],
  }
}
const property = (schema: unknown) => specOf({ type: 'object', properties: { p: schema } })

describe('a schema that a client cannot compile is refused', () => {
  const faults: [string, unknown, string, RegExp][] = [
    ['a pattern with a needless escape', { pattern: '^\\d{3}\\-\\d{4}$' }, '/pattern', /u flag/],
    ['a pattern that is open', { pattern: '(' }, '/pattern', /does not compile/],
    [
      'a pattern of properties',
      { patternProperties: { '\\-': {} } },
      '/patternProperties',
      /u flag/,
    ],
    ['a type that does not exist', { type: 'int' }, '/type', /one of null, boolean/],
    ['an empty enum', { enum: [] }, '/enum', /at least one value/],
    ['required as in OpenAPI 2', { required: true }, '/required', /list of property names/],
    ['a reference to nowhere', { $ref: '#/$defs/none' }, '/$ref', /leads to nothing/],
    ['a reference to another document', { $ref: 'https://x.example/s' }, '/$ref', /leads out/],
    [
      'an exclusive minimum as in draft 4',
      { exclusiveMinimum: true },
      '/exclusiveMinimum',
      /number/,
    ],
    ['a negative length', { minLength: -1 }, '/minLength', /whole number/],
    ['a list of items', { items: [{}] }, '/items', /object, true or false/],
    ['an empty list of alternatives', { anyOf: [] }, '/anyOf', /list of schemas/],
    ['one deep inside', { anyOf: [{ items: { type: 'x' } }] }, '/anyOf/0/items/type', /one of/],
  ]
  for (const [what, schema, place, sentence] of faults) {
    test(what, () => {
      const fault = schemaFault(property(schema))
      expect(fault?.path).toBe(`/tools/0/inputSchema/properties/p${place}`)
      expect(fault?.message).toMatch(sentence)
    })
  }

  test('in the output as well, where the whole list would be lost', () => {
    const spec = specOf(
      { type: 'object' },
      { type: 'object', properties: { p: { pattern: '\\-' } } },
    )
    expect(schemaFault(spec)?.path).toBe('/tools/0/outputSchema/properties/p/pattern')
  })
})

test('accepts what JSON Schema allows, values that look like keywords included', () => {
  const schema = {
    type: ['string', 'null'],
    pattern: '^[a-z]+-\\d$',
    enum: [{ pattern: '(' }],
    default: { type: 'int' },
    examples: [{ $ref: 'x' }],
  }
  expect(schemaFault(property(schema))).toBeUndefined()
  expect(
    schemaFault(
      specOf({
        type: 'object',
        $defs: { 'a/b': { $anchor: 'here' } },
        properties: {
          type: { $ref: '#/$defs/a~1b' },
          pattern: { $ref: '#here' },
          self: { $ref: '#' },
          any: true,
        },
      }),
    ),
  ).toBeUndefined()
})

test('tells the keys that some model APIs refuse, each with its place', () => {
  const nested = { type: 'object', properties: { ok: {}, größe: {} } }
  const spec = specOf({ type: 'object', properties: { 'filter[name]': {}, nested } })
  expect(unsafeKeys(spec).map(({ path }) => path)).toEqual([
    '/tools/0/inputSchema/properties/filter[name]',
    '/tools/0/inputSchema/properties/nested/properties/größe',
  ])
})
