/** Arguments keep their digits on the way into a request, and code gets numbers that it can compute with. */
import { describe, expect, test } from 'bun:test'
import { operationSchema } from '@bmm/spec/server-spec'
import { type Arguments, inputForCode, readArguments } from './arguments.ts'
import { schemaCheck } from './input.ts'
import { requestFrom } from './request.ts'

const big = '9007199254740993'
const schema = {
  type: 'object',
  properties: {
    id: { type: 'integer' },
    price: { type: 'number' },
    name: { type: 'string' },
    list: { type: 'array', items: { type: 'integer', minimum: 1 } },
    either: { anyOf: [{ type: 'integer' }, { type: 'boolean' }] },
  },
  additionalProperties: false,
}

function read(text: string): Arguments {
  const outcome = readArguments(text, schemaCheck(schema))
  if ('problems' in outcome) throw new Error(outcome.problems)
  return outcome
}

function problems(text: string): string {
  const outcome = readArguments(text, schemaCheck(schema))
  return 'problems' in outcome ? outcome.problems : 'none'
}

describe('arguments', () => {
  test.each([
    `{"id":${big}}`,
    `{"list":[1,-${big}1]}`.replace('-', ''),
    '{"price":0.1000000000000000055}',
    '{"price":1E400}',
    '{"id":1000000000000000000000}',
    `{"name":"${big}","id":1}`,
    '{"id":1,"price":1.5}',
  ])('%s are handed on as written', (text) => {
    expect(JSON.stringify(read(text).exact)).toBe(text)
  })

  test('take digits in text where a number is asked for, and only those that a double would lose', () => {
    const text = `{"id":"${big}","name":"${big}","list":["1${big}",2],"either":"${big}"}`
    expect(JSON.stringify(read(text).exact)).toBe(
      `{"id":${big},"name":"${big}","list":[1${big},2],"either":${big}}`,
    )
    expect(problems('{"id":"12"}')).toContain('id: ')
    expect(problems('{"id":"4111 1111 1111 1111"}')).toContain('id: ')
    expect(problems(`{"id":"0${big}"}`)).toContain('id: ')
  })

  test('are held against the schema as ever', () => {
    expect(problems(`{"name":${big}}`)).toContain('name: ')
    expect(problems(`{"list":["-${big}"]}`)).toContain('list.0: ')
    expect(problems(`{"other":${big}}`)).toContain('There is no such property.')
    expect(problems(`{"id":${big}`)).toBe('The arguments are not JSON.')
    expect(problems(big)).not.toBe('none')
  })
})

describe('code', () => {
  test('gets doubles, but no integer that is another one', () => {
    expect(inputForCode(read('{"price":0.1000000000000000055,"id":2}'))).toEqual({
      price: 0.1,
      id: 2,
    })
    const advice = 'Write the number as text, in quotes.'
    expect(() => inputForCode(read(`{"id":${big}}`))).toThrow(`"id" has more digits`)
    expect(() => inputForCode(read(`{"list":[1,${big}]}`))).toThrow(`"list.1"`)
    expect(() => inputForCode(read('{"price":1E400}'))).toThrow(advice)
  })

  test('gets the text that was given instead', () => {
    expect(inputForCode(read(`{"id":"${big}"}`))).toEqual({ id: big })
  })
})

describe('a request', () => {
  const place = (where: string, name: string) => ({
    ...{ key: name, name, in: where, explode: false },
    style: where === 'query' || where === 'cookie' ? 'form' : 'simple',
  })
  const send = (body: object, text: string) => {
    const operation = operationSchema.parse({
      method: 'POST',
      url: 'https://api.example.com/{id}',
      parameters: ['query', 'header', 'cookie'].map((where) => place(where, where)),
      ...body,
    })
    operation.parameters.push(...operationSchema.shape.parameters.parse([place('path', 'id')]))
    const input = readArguments(text, schemaCheck({ type: 'object' }))
    if ('problems' in input) throw new Error(input.problems)
    return requestFrom(operation, input.exact, () => 'b'.repeat(16))
  }

  test('has the digits in path, query, headers and cookies', () => {
    const sent = send({}, `{"id":${big},"query":[${big},1e21],"header":-${big},"cookie":1E400}`)
    expect(sent.url).toBe(`https://api.example.com/${big}?query=${big},1000000000000000000000`)
    expect(sent.headers).toEqual([
      ['header', `-${big}`],
      ['cookie', 'cookie=1E400'],
    ])
  })

  test.each([
    ['json', 'application/json', `{"a":${big},"b":{"c_d":[${big}]}}`],
    ['form', 'application/x-www-form-urlencoded', `a=${big}&b=%7B%22c_d%22%3A%5B${big}%5D%7D`],
    ['multipart', 'multipart/form-data', `name="a"\r\n\r\n${big}\r\n`],
  ])('has the digits in a %s body', (kind, contentType, wanted) => {
    const fields = ['a', 'b'].map((name) => ({ key: name, name }))
    const renames = [{ at: ['b', 'cd'], wire: 'c_d' }]
    const body = { kind, contentType, required: true, fields }
    const sent = send({ body, renames }, `{"id":1,"a":${big},"b":{"cd":[${big}]}}`)
    expect(new TextDecoder().decode(sent.body)).toContain(wanted)
  })

  test('writes a large double in full, too', () => {
    expect(send({}, '{"id":1e21}').url).toEndWith('/1000000000000000000000')
  })
})
