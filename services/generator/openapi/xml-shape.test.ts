import { describe, expect, test } from 'bun:test'
import { drafted, oneOperation, toolOf } from './testing.ts'

const text = { type: 'string' }

function said(schema: object, more: object = {}, components: object = {}): string {
  const requestBody = { required: true, content: { 'application/xml': { schema, ...more } } }
  const tool = toolOf(drafted(oneOperation({ requestBody }, { components })), 'run')
  return String(Object(tool.inputSchema.properties).body.description)
}

describe('an XML body', () => {
  test('shows the example of the document, tags and all', () => {
    const example = '<order id="1"><sku>a</sku><b>x</b></order>'
    expect(said({ type: 'object' }, { example })).toBe(
      `The request body as application/xml text.\nExample: ${example}`,
    )
  })

  test('shows its shape by name, attribute, prefix and namespace', () => {
    const schema = {
      type: 'object',
      xml: { name: 'order', namespace: 'https://shop.example/ns', prefix: 's' },
      properties: {
        id: { type: 'integer', xml: { attribute: true } },
        sku: { ...text, example: 'a<b' },
        state: { ...text, enum: ['open', 'shut'], xml: { name: 'status' } },
      },
    }
    expect(said(schema)).toEndWith(
      'Shape: <s:order xmlns:s="https://shop.example/ns" id="integer"><sku>a&lt;b</sku><status>open</status></s:order>',
    )
  })

  test('shows lists wrapped and plain, and is called after its component', () => {
    const Order = {
      type: 'object',
      properties: {
        tags: {
          type: 'array',
          xml: { wrapped: true, name: 'labels' },
          items: { ...text, xml: { name: 'label' } },
        },
        codes: { type: 'array', items: { type: 'integer' } },
        next: { $ref: '#/components/schemas/Order' },
      },
    }
    expect(said({ $ref: '#/components/schemas/Order' }, {}, { schemas: { Order } })).toEndWith(
      'Shape: <Order><labels><label>string</label></labels><codes>integer</codes><next>…</next></Order>',
    )
  })

  test('writes an example object as its schema says', () => {
    const schema = { type: 'object', xml: { name: 'a' }, properties: { b: text } }
    expect(said(schema, { example: { b: 'x' } })).toEndWith('Shape: <a><b>string</b></a>')
  })

  test('of a wide and deep schema stays short', () => {
    const wide = (depth: number): object => ({
      type: 'object',
      properties: Object.fromEntries(
        Array.from({ length: 60 }, (_, n) => [`f${n}`, depth === 0 ? text : wide(depth - 1)]),
      ),
    })
    expect(said(wide(1)).length).toBeLessThan(2_200)
  })
})
