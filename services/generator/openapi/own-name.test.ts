import { expect, test } from 'bun:test'
import { bodyOf, drafted, oneOperation, toolOf } from './testing.ts'

const text = { type: 'string' }

test('names beyond ASCII become Latin letters, and the model reads the own ones', () => {
  const draft = drafted({
    openapi: '3.0.3',
    info: { title: '注文', version: '1' },
    servers: [{ url: 'https://api.example.com' }],
    paths: {
      '/注文': {
        get: {
          operationId: '注文一覧',
          parameters: [
            { name: '状態', in: 'query', description: 'Open or closed', schema: text },
            { name: '開始日', in: 'query', schema: { type: 'string', format: 'date' } },
          ],
          responses: {},
        },
        post: {
          operationId: '注文作成v2',
          ...bodyOf({
            type: 'object',
            required: ['商品'],
            properties: { 商品: text, 数量: { type: 'integer' } },
          }),
          responses: {},
        },
        delete: { responses: {} },
      },
    },
  })
  expect(draft.spec.tools.map(({ name, title }) => [name, title])).toEqual([
    ['ZhuWenYiLan', '注文一覧'],
    ['ZhuWenZuoChengv2', '注文作成v2'],
    ['delete_ZhuWen', undefined],
  ])
  const list = toolOf(draft, 'ZhuWenYiLan')
  expect(list.description).toBe('GET /注文\n\nCalled "注文一覧" in the API.')
  expect(list.inputSchema.properties).toMatchObject({
    ZhuangTai: { description: 'Called "状態" in the API. Open or closed' },
    KaiShiRi: { description: 'Called "開始日" in the API.' },
  })
  expect(list.operation.parameters[0]).toMatchObject({ key: 'ZhuangTai', name: '状態' })
  const make = toolOf(draft, 'ZhuWenZuoChengv2')
  expect(make.inputSchema.required).toEqual(['ShangPin'])
  expect(make.operation.body?.fields?.map(({ name }) => name)).toEqual(['商品', '数量'])
  expect(make.inputSchema.properties).toMatchObject({
    ShuLiang: { description: 'Called "数量" in the API.' },
  })
})

test('nested keys say their own name, in lists, maps and alternatives', () => {
  const size = { type: 'object', properties: { größe: text } }
  const { inputSchema, operation } = toolOf(
    drafted(
      oneOperation(
        bodyOf({
          type: 'object',
          properties: {
            list: { type: 'array', items: size },
            map: { type: 'object', additionalProperties: size },
            either: { oneOf: [{ type: 'object', properties: { цена: text } }, { type: 'number' }] },
          },
        }),
      ),
    ),
    'run',
  )
  const said = { description: 'Called "größe" in the API.' }
  expect(inputSchema.properties).toMatchObject({
    list: { items: { properties: { grosse: said } } },
    map: { additionalProperties: { properties: { grosse: said } } },
    either: {
      anyOf: [{ properties: { tsena: { description: 'Called "цена" in the API.' } } }, {}],
    },
  })
  expect(operation.renames).toContainEqual({ at: ['list', '*', 'grosse'], wire: 'größe' })
})

test('names that sound alike keep keys of their own', () => {
  const parameters = ['金', '今', 'Jin'].map((name) => ({ name, in: 'query', schema: text }))
  const { operation } = toolOf(drafted(oneOperation({ parameters })), 'run')
  expect(new Set(operation.parameters.map(({ key }) => key)).size).toBe(3)
  expect(operation.parameters.map(({ name }) => name)).toEqual(['金', '今', 'Jin'])
})
