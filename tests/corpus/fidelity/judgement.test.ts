/** The judge itself: each way in which a tool can be wrong is found. */
import { expect, test } from 'bun:test'
import { draftFromOpenApi } from '@bmm/generator/openapi/draft.ts'
import type { OperationSpec, ToolSpec } from '@bmm/spec/server-spec'
import { documentReader } from './document-reader.ts'
import { roundTrips } from './examples.ts'
import { judgeTool } from './judgement.ts'
import { schemaReader } from './schema-reader.ts'
import { toolFaults } from './tool-faults.ts'
import { inputReader } from './tool-schema.ts'

type Imported = ToolSpec & { operation: OperationSpec }

const shop = {
  openapi: '3.0.3',
  info: { title: 'Shop', version: '1' },
  servers: [{ url: 'https://api.example.com/v1' }],
  paths: {
    '/orders/{id}': {
      post: {
        operationId: 'addItem',
        parameters: [
          { name: 'id', in: 'path', required: true, schema: { type: 'integer' }, example: 7 },
          { name: 'tags', in: 'query', schema: { type: 'array', items: { type: 'string' } } },
          {
            name: 'where',
            in: 'query',
            style: 'deepObject',
            schema: { $ref: '#/components/schemas/Where' },
          },
          {
            name: 'X-Trace',
            in: 'header',
            required: true,
            schema: { type: 'string', minLength: 2 },
          },
          { name: 'lang', in: 'cookie', schema: { type: 'string' }, example: 'de' },
        ],
        requestBody: {
          required: true,
          content: {
            'application/json': {
              schema: { $ref: '#/components/schemas/Item' },
              example: { name: 'Tea', count: 2, size: { wide: true } },
            },
          },
        },
        responses: {},
      },
    },
  },
  components: {
    schemas: {
      Where: {
        type: 'object',
        properties: {
          city: { type: 'string' },
          ids: { type: 'array', items: { type: 'integer' } },
        },
      },
      Item: {
        type: 'object',
        required: ['name', 'made'],
        properties: {
          name: { type: 'string' },
          count: { type: 'integer' },
          size: { type: 'object', properties: { wide: { type: 'boolean' } } },
          made: { type: 'string', readOnly: true },
        },
        additionalProperties: false,
      },
    },
  },
}

/** The kinds of faults of the tool after `change`, at their places. */
function faultsAfter(change: (tool: Imported) => void): string[] {
  const { tool, operation, schemas } = imported(change)
  const { faults } = judgeTool(tool, operation, schemas, new Set(), inputReader()(tool.inputSchema))
  return faults.map(({ kind, where }) => `${kind} ${where}`)
}

function imported(change: (tool: Imported) => void) {
  const [first] = draftFromOpenApi(JSON.stringify(shop)).spec.tools
  if (first?.operation === undefined) throw new Error('no tool was drafted')
  const tool: Imported = structuredClone({ ...first, operation: first.operation })
  change(tool)
  const reader = documentReader(shop)
  const operation = reader.read({ method: 'post', path: '/orders/{id}' })
  return { tool, operation, schemas: schemaReader(shop) }
}

function renamedCount({ operation }: Imported): void {
  for (const field of operation.body?.fields ?? []) if (field.name === 'count') field.name = 'Count'
}

function parameter({ operation }: Imported, name: string) {
  const found = operation.parameters.find((one) => one.name === name)
  if (found === undefined) throw new Error(`no parameter ${name}`)
  return found
}

test('finds nothing wrong with a tool as it is imported', () => {
  expect(faultsAfter(() => {})).toEqual([])
})

test('finds what is not sent, sent elsewhere, or sent in another way', () => {
  const cases: [change: (tool: Imported) => void, faults: string[]][] = [
    [(tool) => tool.operation.parameters.splice(3, 1), ['missing header X-Trace']],
    [
      (tool) => {
        parameter(tool, 'tags').name = 'tag'
      },
      ['stray query tag', 'changed query tag'],
    ],
    [
      (tool) => {
        parameter(tool, 'tags').explode = false
      },
      ['changed query tags'],
    ],
    [
      (tool) => {
        parameter(tool, 'where').style = 'form'
      },
      ['stray query city', 'stray query ids', 'changed query where'],
    ],
    [
      (tool) => {
        parameter(tool, 'lang').in = 'header'
      },
      ['changed header lang'],
    ],
    [
      (tool) => {
        tool.operation.url = 'https://api.example.com/v1/order/{id}'
      },
      ['address path', 'changed path id'],
    ],
    [
      (tool) => {
        tool.operation.body = undefined
      },
      ['missing body'],
    ],
    [
      (tool) => {
        if (tool.operation.body) tool.operation.body.contentType = 'text/json+x'
      },
      ['media-type body'],
    ],
    [
      (tool) => {
        for (const field of tool.operation.body?.fields ?? [])
          if (field.name === 'count') field.name = 'Count'
      },
      ['invalid body'],
    ],
    [
      (tool) => {
        tool.inputSchema.properties = {
          ...Object(tool.inputSchema.properties),
          count: { type: 'string' },
        }
      },
      ['invalid body/count'],
    ],
  ]
  for (const [change, faults] of cases) expect(faultsAfter(change)).toEqual(faults)
})

test('finds a schema that nothing fits', () => {
  const change = (tool: Imported) => {
    tool.inputSchema.not = {}
  }
  expect(faultsAfter(change)).toEqual(['no-input inputSchema'])
})

test('finds lists of nothing and wire names under two keys', () => {
  const { tool } = imported((one) => {
    one.inputSchema.properties = {
      ...Object(one.inputSchema.properties),
      tags: { type: 'array' },
      name_2: {},
    }
    one.operation.body?.fields?.push({ key: 'name_2', name: 'name' })
  })
  expect(toolFaults(tool).map(({ kind, where }) => `${kind} ${where}`)).toEqual([
    'no-items tags',
    'twin-key name_2',
  ])
})

test('sends examples round, and finds one that is refused or comes back as another', () => {
  const tripped = (change: (tool: Imported) => void) => {
    const { tool, operation, schemas } = imported(change)
    const { tried, equal, faults } = roundTrips(tool, operation, schemas, new Set())
    return { tried, equal, faults: faults.map(({ kind, where }) => `${kind} ${where}`) }
  }
  expect(tripped(() => {})).toEqual({ tried: 1, equal: 1, faults: [] })
  expect(tripped(renamedCount).faults).toEqual(['changed body'])
  expect(
    tripped((tool) => {
      tool.inputSchema.properties = {
        ...Object(tool.inputSchema.properties),
        id: { type: 'string' },
      }
    }).faults,
  ).toEqual(['example-refused inputSchema'])
})
