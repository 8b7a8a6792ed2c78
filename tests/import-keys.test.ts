/** Keys of a tool's input against the names on the wire, and values that a document gives against its own schemas. */
import { describe, expect, test } from 'bun:test'
import { documentOf, sent, toolOf, withBody } from './imported-tool.ts'

const text = { type: 'string' }
const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` })

describe('a name that needs no other key', () => {
  test.each([
    ['type[]', 'type'],
    ['filter[name]', 'filter_name'],
    ['$id', 'id'],
  ])('stays its own key beside %p, which comes first', (renamed, real) => {
    const parameters = [renamed, real].map((name) => ({ name, in: 'query', schema: text }))
    const tool = toolOf(documentOf({ parameters }))
    expect(sent(tool, { [real]: 'x' })).toBe(`https://api.example.com/things?${real}=x`)
    expect(sent(tool, { [`${real}_query`]: 'x' })).toBe(
      `https://api.example.com/things?${encodeURIComponent(renamed)}=x`,
    )
  })

  test('leaves the key of a whole body apart from a parameter that is named body', () => {
    const tool = toolOf(
      documentOf({
        parameters: [{ name: 'body', in: 'query', schema: text }],
        requestBody: { required: true, content: { 'application/json': { schema: ref('Any') } } },
      }),
    )
    expect(Object.keys(tool.inputSchema.properties ?? {})).toEqual(['body', 'request_body'])
    expect(sent(tool, { body: 'q', request_body: { a: 1 } })).toEqual({ a: 1 })
  })

  test('keeps what is inside of it, beside a map whose entries have renamed fields', () => {
    const m = {
      type: 'object',
      properties: { plain: { type: 'object', properties: { q: text } } },
      additionalProperties: { type: 'object', properties: { 'q r': text } },
    }
    const tool = toolOf(withBody({ type: 'object', properties: { m } }))
    const input = { m: { plain: { q_r: 'own' }, other: { q_r: 'renamed' } } }
    expect(sent(tool, input)).toEqual({
      m: { plain: { q_r: 'own' }, other: { 'q r': 'renamed' } },
    })
  })
})

describe("a child's tag", () => {
  const child = (tag: object) => ({
    allOf: [ref('Parent'), { type: 'object', properties: { kind: tag, size: text } }],
  })
  const parent = (kind: object) => ({
    type: 'object',
    required: ['kind'],
    properties: { kind },
    discriminator: { propertyName: 'kind' },
  })

  test('is taken where the parent allows its own alone', () => {
    const tool = toolOf(
      withBody(ref('Parent'), { Parent: parent({ enum: ['p'] }), Child: child({ enum: ['c'] }) }),
    )
    for (const body of [{ kind: 'c', size: 's' }, { kind: 'p' }])
      expect(sent(tool, body)).toEqual(body)
    expect(sent(tool, { kind: 'other' })).toMatchObject({ refused: {} })
  })

  test('is taken inside of a list as well', () => {
    const list = { type: 'array', items: ref('Parent') }
    const tool = toolOf(
      withBody(
        { type: 'object', properties: { list } },
        { Parent: parent({ type: 'string', const: 'p' }), Child: child({ const: 'c' }) },
      ),
    )
    const body = { list: [{ kind: 'c', size: 's' }, { kind: 'p' }] }
    expect(sent(tool, body)).toEqual(body)
  })

  test('is the value that Microsoft documents write at the child', () => {
    const tool = toolOf(
      withBody(ref('Parent'), {
        Parent: parent({ type: 'string', enum: ['Basic'] }),
        BasicAuthentication: { ...child({}), 'x-ms-discriminator-value': 'Basic' },
      }),
    )
    expect(tool.description).toContain('kind "Basic"')
    expect(tool.description).not.toContain('BasicAuthentication')
  })
})

describe('an example of an object', () => {
  const fields = {
    code: { type: 'string', pattern: '^x', maxLength: 3 },
    sizes: { type: 'array', items: { type: 'integer', maximum: 3 } },
    level: { type: 'string', enum: ['low', 'high'] },
    other: { type: 'integer', maximum: 3 },
  }
  const example = { code: 'abc-1', sizes: [7], level: 'middle' }

  test('loosens what refuses its fields, and nothing else, with a warning', () => {
    const tool = toolOf(withBody({ type: 'object', properties: fields, example }))
    expect(sent(tool, example)).toEqual(example)
    expect(sent(tool, { other: 4 })).toMatchObject({ refused: {} })
    expect(sent(tool, { level: 'none' })).toMatchObject({ refused: {} })
    expect(tool.warnings.map(({ message }) => message).join()).toContain('contradicts its own')
  })

  test('does so however deep they are, and however large it is', () => {
    const inner = { type: 'object', properties: fields }
    const whole = { list: [{ ...example, note: 'n'.repeat(500) }] }
    const schema = { type: 'object', properties: { list: { type: 'array', items: inner } } }
    const tool = toolOf(withBody({ ...schema, examples: [whole] }))
    expect(sent(tool, whole)).toEqual(whole)
  })
})

test.each([
  [{ type: 'integer', minimum: 10, maximum: 1 }, 5],
  [{ type: 'object', minProperties: 2, maxProperties: 1 }, { a: 1 }],
])('bounds %j that leave nothing between them refuse nothing', (value, given) => {
  const tool = toolOf(withBody({ type: 'object', properties: { value } }))
  expect(sent(tool, { value: given })).toEqual({ value: given })
  expect(tool.warnings.map(({ message }) => message).join()).toContain('contradicts its own')
})

describe('what a schema says beside its alternatives', () => {
  test('about items leaves the alternative that is no list', () => {
    const oneOf = [
      {
        type: 'object',
        required: ['names'],
        properties: { names: { type: 'array', items: text } },
      },
      { type: 'array', items: text },
    ]
    const tool = toolOf(withBody({ items: text, oneOf }))
    for (const body of [{ names: ['a'] }, ['a']]) expect(sent(tool, { body })).toEqual(body)
    expect(sent(tool, { body: [1] })).toMatchObject({ refused: {} })
  })

  test('about its type leaves the alternative that is of another', () => {
    const names = { type: 'object', required: ['names'], properties: { names: text } }
    const tool = toolOf(withBody({ type: 'array', items: text, oneOf: [names, { items: text }] }))
    for (const body of [{ names: 'a' }, ['a']]) expect(sent(tool, { body })).toEqual(body)
    expect(sent(tool, { body: 'a' })).toMatchObject({ refused: {} })
  })

  test('about entries of a map leaves the fields of the alternatives', () => {
    const schemas = {
      Criteria: {
        type: 'object',
        required: ['kind'],
        properties: { kind: text },
        additionalProperties: { type: 'object' },
        discriminator: { propertyName: 'kind', mapping: { single: ref('Single').$ref } },
      },
      Single: {
        allOf: [ref('Criteria'), { type: 'object', properties: { limit: { type: 'integer' } } }],
      },
    }
    const tool = toolOf(
      withBody({ type: 'object', properties: { criteria: ref('Criteria') } }, schemas),
    )
    const body = { criteria: { kind: 'single', limit: 3 } }
    expect(sent(tool, body)).toEqual(body)
  })
})
