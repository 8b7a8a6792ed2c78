/** Documents whose alternatives, null, patterns and enums went wrong in real APIs: from the document to the bytes that leave. */
import { describe, expect, test } from 'bun:test'
import { sent, toolOf, withBody, withQuery } from './imported-tool.ts'

type Schema = Record<string, unknown>

describe('alternatives that share names of fields', () => {
  const card = { type: 'object', required: ['method', 'number'] }
  const payment = withBody(
    {
      oneOf: [{ $ref: '#/components/schemas/Card' }, { $ref: '#/components/schemas/Bank' }],
      discriminator: {
        propertyName: 'method',
        mapping: { credit_card: '#/components/schemas/Card', sepa_debit: 'Bank' },
      },
    },
    {
      Card: { ...card, properties: { method: { type: 'string' }, number: { type: 'string' } } },
      Bank: {
        type: 'object',
        required: ['method', 'iban'],
        properties: { method: { type: 'string' }, iban: { type: 'string' } },
      },
    },
  )

  test('keep the name, say their tag, and send exactly what was given', () => {
    const tool = toolOf(payment)
    const body = { method: 'sepa_debit', iban: 'DE1' }
    expect(sent(tool, { body })).toEqual(body)
    expect(JSON.stringify(tool.inputSchema)).toContain('"sepa_debit"')
    expect(JSON.stringify(tool.inputSchema)).not.toContain('_2')
    expect(sent(tool, { body: { method: 'sepa_debit' } })).toMatchObject({ refused: {} })
  })

  test('do so among the items of a list, closed ones too', () => {
    const block = (type: string, field: string) => ({
      type: 'object',
      required: ['type', field],
      properties: { type: { const: type }, [field]: { type: 'string' } },
      additionalProperties: false,
    })
    const oneOf = [block('text', 'text'), block('image', 'url')]
    const blocks = { type: 'array', items: { oneOf } }
    const tool = toolOf(withBody({ type: 'object', required: ['blocks'], properties: { blocks } }))
    const input = {
      blocks: [
        { type: 'image', url: 'u' },
        { type: 'text', text: 't' },
      ],
    }
    expect(sent(tool, input)).toEqual(input)
    expect(sent(tool, { blocks: [{ type: 'image', text: 't' }] })).toMatchObject({ refused: {} })
  })

  test('give a renamed field one key in all of them, which no real field has', () => {
    const part = (name: string) => ({
      type: 'object',
      properties: { 'a[b]': { type: 'string' }, [name]: { type: 'string' } },
    })
    const tool = toolOf(withBody({ oneOf: [part('a_b'), part('c')] }))
    const written = JSON.stringify(tool.inputSchema)
    expect([written.includes('"a_b"'), written.match(/"a_b_2":/g)?.length]).toEqual([true, 2])
    expect(sent(tool, { body: { a_b: 'real', a_b_2: 'renamed' } })).toEqual({
      a_b: 'real',
      'a[b]': 'renamed',
    })
  })

  test('are all there, thirty and a hundred and more', () => {
    const oneOf = Array.from({ length: 130 }, (_, index) => ({
      type: 'object',
      required: [`f${index}`],
      properties: { [`f${index}`]: { type: 'string' } },
      additionalProperties: false,
    }))
    const tool = toolOf(withBody({ oneOf }))
    for (const index of [0, 30, 99, 129]) {
      expect(sent(tool, { body: { [`f${index}`]: 'x' } })).toEqual({ [`f${index}`]: 'x' })
    }
  })

  test('may ask for at least one of the fields around them', () => {
    const mask = {
      type: 'object',
      properties: { url: { type: 'string' }, file: { type: 'string' } },
      anyOf: [{ required: ['url'] }, { required: ['file'] }],
    }
    const tool = toolOf(withBody({ type: 'object', required: ['mask'], properties: { mask } }))
    expect(sent(tool, { mask: { url: 'u' } })).toEqual({ mask: { url: 'u' } })
    expect(sent(tool, { mask: {} })).toEqual({
      refused: ['mask.url: It is missing.', 'mask.file: It is missing.'],
    })
  })

  test('stand beside a closed part, as closed parts stand beside each other', () => {
    const closed = {
      type: 'object',
      required: ['company'],
      properties: { company: { type: 'integer' } },
      additionalProperties: false,
    }
    const one = (name: string, more: object = {}) => ({
      type: 'object',
      required: [name],
      properties: { [name]: { type: 'integer' } },
      ...more,
    })
    for (const more of [{}, { additionalProperties: false }]) {
      const oneOf = [one('amount', more), one('price', more)]
      const tool = toolOf(withBody({ allOf: [closed, { oneOf }] }))
      const body = { company: 1, amount: 2 }
      expect(sent(tool, { body })).toEqual(body)
      expect(sent(tool, { body: { company: 1 } })).toMatchObject({ refused: {} })
    }
  })
})

describe('a parent with a discriminator', () => {
  const shapes = {
    Shape: {
      type: 'object',
      required: ['kind'],
      properties: { kind: { type: 'string' } },
      discriminator: { propertyName: 'kind', mapping: { circle: '#/components/schemas/Circle' } },
    },
    Circle: {
      allOf: [
        { $ref: '#/components/schemas/Shape' },
        { type: 'object', required: ['radius'], properties: { radius: { type: 'number' } } },
      ],
    },
    Square: {
      allOf: [
        { $ref: '#/components/schemas/Shape' },
        { type: 'object', properties: { side: { type: 'number' } } },
      ],
    },
    Tile: {
      allOf: [
        { $ref: '#/components/schemas/Square' },
        { type: 'object', properties: { color: { type: 'string' } } },
      ],
    },
  }

  test('offers what its children add, with their tags', () => {
    const tool = toolOf(withBody({ $ref: '#/components/schemas/Shape' }, shapes))
    expect(Object.keys(tool.inputSchema.properties as Schema).toSorted()).toEqual(
      ['color', 'kind', 'radius', 'side'].toSorted(),
    )
    expect(sent(tool, { kind: 'circle', radius: 3 })).toEqual({ kind: 'circle', radius: 3 })
    expect(tool.description).toContain('kind "circle" needs radius')
    expect(tool.description).toContain('kind "Square"')
  })

  test('offers them inside of a list as alternatives, and the parent alone', () => {
    const list = { type: 'array', items: { $ref: '#/components/schemas/Shape' } }
    const tool = toolOf(withBody({ type: 'object', properties: { shapes: list } }, shapes))
    const given = {
      shapes: [{ kind: 'circle', radius: 3 }, { kind: 'Tile', color: 'red' }, { kind: 'dot' }],
    }
    expect(sent(tool, given)).toEqual(given)
    expect(JSON.stringify(tool.inputSchema)).toContain('"const":"circle"')
    expect(JSON.stringify(tool.inputSchema)).toContain('"radius"')
  })

  test('is no alternative of its own child', () => {
    const tool = toolOf(withBody({ $ref: '#/components/schemas/Circle' }, shapes))
    expect(Object.keys(tool.inputSchema.properties as Schema).toSorted()).toEqual([
      'kind',
      'radius',
    ])
  })

  test('is read in Swagger 2.0, where the tag is the name of the schema', () => {
    const definitions = {
      Pet: {
        type: 'object',
        discriminator: 'petType',
        required: ['petType'],
        properties: { petType: { type: 'string' } },
      },
      Cat: {
        allOf: [
          { $ref: '#/definitions/Pet' },
          { type: 'object', properties: { huntingSkill: { type: 'string' } } },
        ],
      },
    }
    const parameters = [
      { name: 'pet', in: 'body', required: true, schema: { $ref: '#/definitions/Pet' } },
    ]
    const tool = toolOf({
      swagger: '2.0',
      info: { title: 'T', version: '1' },
      host: 'api.example.com',
      schemes: ['https'],
      paths: { '/pets': { post: { operationId: 'run', parameters, responses: {} } } },
      definitions,
    })
    const cat = { petType: 'Cat', huntingSkill: 'lazy' }
    expect(sent(tool, cat)).toEqual(cat)
    expect(JSON.stringify(tool)).toContain('\\"Cat\\"')
  })
})

describe('null', () => {
  const schema = {
    type: 'object',
    properties: {
      ref: { anyOf: [{ type: 'string' }, { type: 'integer' }, { type: 'null' }] },
      gone: { type: 'null' },
    },
  }
  test('among alternatives and alone is null, not anything', () => {
    const tool = toolOf(withBody(schema))
    expect(JSON.stringify(tool.inputSchema)).toContain('{"type":"null"}')
    expect(sent(tool, { ref: { x: 1 } })).toMatchObject({ refused: {} })
    expect(sent(tool, { gone: 'text' })).toMatchObject({ refused: {} })
    expect(sent(tool, { ref: null, gone: null })).toEqual({ ref: null, gone: null })
  })
})

test('every list has items', () => {
  const properties = {
    tags: { type: 'array' },
    any: { type: 'array', items: true },
    pair: { type: ['array', 'null'] },
  }
  const { inputSchema } = toolOf(withBody({ type: 'object', properties }))
  for (const property of Object.values(inputSchema.properties as Record<string, Schema>)) {
    expect(property.items).toEqual({})
  }
})

describe('a schema that contradicts itself', () => {
  const url = (query: string) => `https://api.example.com/things?q=${query}`

  test.each([
    ['an enum of another type', { type: 'string', enum: [1, 2, 3] }, '1', '1'],
    ['an enum of texts for an integer', { type: 'integer', enum: ['10', '20'] }, 10, '10'],
    ['an enum of texts for a boolean', { type: 'boolean', enum: ['true'] }, true, 'true'],
    ['a constant of another type', { type: 'string', const: 7 }, '7', '7'],
    [
      'a literal with slashes',
      { type: 'string', pattern: '/^\\d{4}$/', example: '1234' },
      '1234',
      '1234',
    ],
    ['a literal without an example', { type: 'string', pattern: '/^\\d{4}$/' }, '1234', '1234'],
    ['a literal with a flag', { type: 'string', pattern: '/^[a-z]+$/i' }, 'ABC', 'ABC'],
    [
      'a pattern against its example',
      { type: 'string', pattern: '^[a-z]+$', example: 'A-1' },
      'A-1',
      'A-1',
    ],
    [
      'a length against its default',
      { type: 'string', maxLength: 2, default: 'long' },
      'long',
      'long',
    ],
    ['a bound against its example', { type: 'integer', maximum: 10, example: 50 }, 50, '50'],
    ['an integer with a fraction as example', { type: 'integer', example: 1.5 }, 1.5, '1.5'],
    [
      'an example that is none of the enum',
      { type: 'string', enum: ['a'], example: 'b' },
      'b',
      'b',
    ],
    [
      'lengths that exclude each other',
      { type: 'string', minLength: 5, maxLength: 3 },
      'abcd',
      'abcd',
    ],
  ] as const)('takes what %s means', (_, schema, value, query) => {
    expect(sent(toolOf(withQuery(schema)), { q: value })).toBe(url(query))
  })

  test('is told where something was left out', () => {
    const { warnings } = toolOf(withQuery({ type: 'string', pattern: '^a$', example: 'b' }))
    expect(warnings.map(({ message }) => message).join()).toContain('contradicts its own examples')
    const fine = toolOf(withQuery({ type: 'string', pattern: '^a$', example: 'a' }))
    expect(fine.warnings.map(({ message }) => message).join()).not.toContain('contradicts')
  })

  test('keeps a pattern of paths that begins and ends with a slash', () => {
    const tool = toolOf(withQuery({ type: 'string', pattern: '/api/', example: 'x/api/y' }))
    expect(JSON.stringify(tool.inputSchema)).toContain('"/api/"')
  })

  test('does not hang on a pattern that takes for ever', () => {
    const schema = { type: 'string', pattern: '^(a+)+$', example: `${'a'.repeat(60)}!` }
    expect(toolOf(withQuery(schema)).name).toBe('run')
  })
})

test('a format informs and does not refuse', () => {
  for (const [format, value] of [
    ['date-time', '2026-01-02T03:04:05'],
    ['time', '10:30'],
    ['uri', 'www.example.com/a'],
    ['email', 'nobody'],
    ['uuid', '1'],
  ]) {
    const tool = toolOf(withQuery({ type: 'string', format }))
    expect(typeof sent(tool, { q: value })).toBe('string')
  }
})

test('a pattern with a slash behind a reference lets a value span segments', () => {
  const tool = toolOf({
    openapi: '3.0.3',
    info: { title: 'T' },
    servers: [{ url: 'https://api.example.com' }],
    paths: {
      '/resources/{name}': {
        get: {
          operationId: 'run',
          parameters: [
            {
              name: 'name',
              in: 'path',
              required: true,
              schema: { $ref: '#/components/schemas/Name' },
            },
          ],
          responses: {},
        },
      },
    },
    components: { schemas: { Name: { type: 'string', pattern: '^projects/[^/]+$' } } },
  })
  expect(sent(tool, { name: 'projects/p' })).toBe('https://api.example.com/resources/projects/p')
})
