import { expect, test } from 'bun:test'
import { drafted, oneOperation, toolOf } from './testing.ts'

const binary = { type: 'string', format: 'binary' }

function toolWith(type: string, media: object) {
  const requestBody = { required: true, content: { [type]: media } }
  return toolOf(drafted(oneOperation({ requestBody })), 'run')
}

test('offers a file as base64 and as an object with name and type', () => {
  const schema = {
    type: 'object',
    required: ['file'],
    properties: {
      file: { ...binary, maxLength: 9, description: 'A .csv or .jsonl file' },
      more: { type: 'array', items: binary },
      maybe: { type: ['string', 'null'], format: 'binary' },
    },
  }
  const { inputSchema } = toolWith('multipart/form-data', { schema })
  const base64 = { type: 'string', contentEncoding: 'base64' }
  const named = {
    type: 'object',
    properties: { name: { type: 'string' }, type: { type: 'string' }, data: base64 },
    required: ['data'],
    additionalProperties: false,
  }
  expect(inputSchema).toMatchObject({
    required: ['file'],
    properties: {
      file: {
        description: expect.stringMatching(/^File content .* A \.csv or \.jsonl file$/),
        anyOf: [base64, named],
      },
      more: { type: 'array', items: { anyOf: [base64, named] } },
      maybe: { anyOf: [base64, named, { type: 'null' }] },
    },
  })
  expect(Object(inputSchema.properties).file.maxLength).toBeUndefined()
})

test('keeps all types that a file may have, and one of a value', () => {
  const schema = {
    type: 'object',
    properties: {
      image: binary,
      sheet: { type: 'string', contentMediaType: 'application/pdf' },
      meta: { type: 'object', properties: { a: { type: 'string' } } },
    },
  }
  const encoding = {
    image: { contentType: 'image/png, image/*, nonsense' },
    meta: { contentType: 'application/json, text/plain' },
  }
  const fields = toolWith('multipart/form-data', { schema, encoding }).operation.body?.fields
  expect(fields?.map(({ key, contentType }) => [key, contentType])).toEqual([
    ['image', 'image/png, image/*'],
    ['sheet', 'application/pdf'],
    ['meta', 'application/json'],
  ])
})

test('keeps all types of a body of bytes', () => {
  const content = { 'image/png': { schema: binary }, 'image/jpeg': { schema: binary } }
  const tool = toolOf(drafted(oneOperation({ requestBody: { required: true, content } })), 'run')
  expect(tool.operation.body).toMatchObject({
    kind: 'binary',
    contentType: 'image/png, image/jpeg',
  })
  expect(Object(tool.inputSchema.properties).body).toMatchObject({
    description: expect.stringContaining('image/png, image/jpeg'),
    anyOf: [{ contentEncoding: 'base64' }, { required: ['data'] }],
  })
})
