/** What is not an OpenAPI document is told so in a sentence, with line and path where it is malformed. */
import { describe, expect, test } from 'bun:test'
import { MAX_NESTING, readDocument } from './document.ts'
import { ImportError, type ImportFault } from './import-error.ts'
import { jsonFault } from './json-fault.ts'

function faultOf(text: string): ImportFault {
  try {
    readDocument(text)
  } catch (error) {
    if (error instanceof ImportError) return error.fault
    throw error
  }
  throw new Error('the document was read')
}

describe('the version', () => {
  test.each([
    ['{"swagger":"2.0"}', '2.0'],
    ['swagger: 2.0', '2.0'],
    ['swagger: "2.0"', '2.0'],
    ['{"openapi":"3.0.3"}', '3.0'],
    ['openapi: 3.0', '3.0'],
    ['openapi: 3.1.1', '3.1'],
    ['\uFEFF{"openapi":"3.1.0"}', '3.1'],
    ['# a comment\nopenapi: 3.2.0\n', '3.2'],
    ['---\nopenapi: 3.0.0\n', '3.0'],
  ])('of %p is %s', (text, version) => {
    expect(readDocument(text).version).toBe(version as '2.0')
  })
})

describe('what is something else', () => {
  test.each([
    ['', 'document_empty', 'empty'],
    [' \n\t ', 'document_empty', 'empty'],
    ['<!doctype html><title>Docs</title>', 'not_openapi', 'HTML'],
    ['<html lang="en">', 'not_openapi', 'HTML'],
    ['<?xml version="1.0"?><definitions/>', 'not_openapi', 'XML'],
    ['#%RAML 1.0\ntitle: x', 'not_openapi', 'RAML'],
    ['PK\u0003\u0004\0\0', 'not_openapi', 'binary'],
    ['hello', 'not_openapi', 'plain text'],
    ['[1]', 'not_openapi', 'a list'],
    ['"openapi"', 'not_openapi', 'plain text'],
    ['{}', 'not_openapi', 'neither "openapi" nor "swagger"'],
    ['{"openapi":"4.0.0"}', 'not_openapi', 'version that is not known'],
    ['{"openapi":["3.0.0"]}', 'not_openapi', 'neither'],
    ['{"swaggerVersion":"1.2"}', 'not_openapi', 'Swagger 1.x'],
    ['{"asyncapi":"3.0.0"}', 'not_openapi', 'AsyncAPI'],
    ['{"info":{"_postman_id":"1"}}', 'not_openapi', 'Postman'],
    [
      '{"info":{"schema":"https://schema.getpostman.com/json/collection/v2.1.0/collection.json"}}',
      'not_openapi',
      'Postman',
    ],
    ['{"kind":"discovery#restDescription"}', 'not_openapi', 'Google discovery'],
    ['{"log":{"entries":[]}}', 'not_openapi', 'HAR'],
    ['{"_type":"export"}', 'not_openapi', 'Insomnia'],
    ['{"$schema":"https://json-schema.org/draft/2020-12/schema"}', 'not_openapi', 'JSON Schema'],
    ['openapi: 3.0.0\n---\nopenapi: 3.0.0\n', 'not_openapi', 'several YAML documents'],
  ])('%p is refused', (text, code, part) => {
    const fault = faultOf(text)
    expect(fault.code).toBe(code as ImportFault['code'])
    expect(fault.message).toContain(part)
  })
})

describe('malformed JSON', () => {
  test.each([
    ['{\n  "a": 1,\n  "b": tru\n}', 3, 8, '/b', 'a value was expected'],
    ['{\n "a": {"b~/c": [1, 2,]}\n}', 2, 22, '/a/b~0~1c/2', 'a value was expected'],
    ['{"a": 1 "b": 2}', 1, 9, '/a', 'a comma or "}"'],
    ['{"a" 1}', 1, 6, '/a', 'a colon'],
    ["{'a': 1}", 1, 2, '', 'double quotes'],
    ['{"a": "x\ny"}', 1, 9, '/a', 'line break'],
    ['{"a": "\\x"}', 1, 8, '/a', 'backslash'],
    ['{"a": "open', 1, 7, '/a', 'not closed'],
    ['{"a": [1', 1, 9, '/a/0', 'the document ends'],
    ['{"openapi":"3.0.0"} x', 1, 21, '', 'more text'],
    ['{"a": 01}', 1, 8, '/a', 'a comma'],
  ])('%p is told with line, column and path', (text, line, column, path, part) => {
    const fault = faultOf(text)
    expect(fault).toMatchObject({ code: 'document_malformed', line, column, path })
    expect(fault.message).toContain(part)
  })

  test('is found by the same rules as the engine has', () => {
    for (const text of ['{"a":[1,-2.5e+3,true,null,"\\u00e9\\n"],"b":{}}', ' [ ] ', '"x"', '-0']) {
      expect(jsonFault(text)).toBeUndefined()
      expect(() => JSON.parse(text)).not.toThrow()
    }
    for (const text of ['+1', '.5', '1.', 'NaN', '{,}', '[,]', '"\\u12"', '{"a":1,}', '']) {
      expect(jsonFault(text)).toBeDefined()
      expect(() => JSON.parse(text)).toThrow()
    }
  })

  test('never shows more of the document than one character', () => {
    expect(faultOf('{"openapi": sk-live-canary}').message).not.toContain('canary')
  })
})

describe('malformed YAML', () => {
  test.each([
    ['openapi: 3.0.0\npaths:\n  /a:\n    get: [1, 2\n', 5, '/paths/~1a/get'],
    ['openapi: 3.0.0\npaths:\n\t/a: 1\n', 3, '/paths/~1a'],
    ['openapi: 3.0.0\ninfo:\n  title: a: b\n', 3, '/info/title'],
    ['openapi: 3.0.0\ninfo:\n  title: @x\n', 3, '/info/title'],
    ['openapi: 3.0.0\ninfo:\n  title: *nowhere\n', 3, '/info/title'],
  ])('%p is told with line and path', (text, line, path) => {
    expect(faultOf(text)).toMatchObject({ code: 'document_malformed', line, path })
  })

  test('is found in a large document too', () => {
    const good = Array.from(
      { length: 60_000 },
      (_, i) => `  /p${i}:\n    get: { summary: "n ${i}" }`,
    )
    const text = `openapi: 3.0.0\npaths:\n${good.join('\n')}\n  /bad:\n    get: { summary: [ }\n  /end: {}\n`
    const fault = faultOf(text)
    expect(fault).toMatchObject({ code: 'document_malformed', path: '/paths/~1bad/get' })
    expect(fault.line).toBe(120_004)
  })
})

describe('size', () => {
  test('deep nesting is refused before a parser sees it, brackets in strings do not count', () => {
    for (const open of ['[', '{"a":', '{a: ']) {
      expect(faultOf(open.repeat(20_000))).toMatchObject({ code: 'document_too_large' })
    }
    expect(faultOf(`openapi: 3.0.0\nx:\n${'- '.repeat(20_000)}y`)).toMatchObject({
      code: 'document_too_large',
    })
    const braces = '['.repeat(MAX_NESTING * 2)
    expect(readDocument(`{"openapi":"3.0.0","x":"${braces}\\""}`).version).toBe('3.0')
    const prose = Array.from({ length: MAX_NESTING * 2 }, () => '    an open [ bracket').join('\n')
    expect(readDocument(`openapi: 3.0.0\nx: |\n${prose}\n`).version).toBe('3.0')
  })

  test('more than 64 MB are refused', () => {
    expect(faultOf(' '.repeat(64 * 1024 * 1024 + 1))).toMatchObject({ code: 'document_too_large' })
  })
})
