/** The scan in front of JSON.parse: what it lets through, and each thing that it refuses. */
import { describe, expect, test } from 'bun:test'
import { JsonFault, type JsonRules, parseJson } from './json-text.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

function faultOf(input: string | Uint8Array, rules?: JsonRules): string {
  try {
    parseJson(typeof input === 'string' ? bytes(input) : input, rules)
  } catch (error) {
    if (error instanceof JsonFault) return error.kind
    throw error
  }
  return 'none'
}

describe('well-formed text', () => {
  const samples = [
    '{}',
    '[]',
    ' {"a":1,"b":{"a":1},"c":[{"a":1},{"a":2}]} ',
    '{"a\\"b":1,"a":2,"quote\\\\":3}',
    '"plain"',
    'null',
    '-1.5e3',
    '{"text":"{[\\"not structure\\"]}, \\\\"}',
    '{"schlüssel":"日本","\\ud83d\\ude00":1}',
    '["a","a","a"]',
    '{"a":["b","b",{"b":1}],"b":2}',
  ]
  for (const sample of samples) {
    test(`parses ${sample}`, () => {
      expect(parseJson(bytes(sample))).toEqual(JSON.parse(sample))
    })
  }

  test('keeps a key named __proto__ as plain data', () => {
    const value = parseJson(bytes('{"__proto__":{"polluted":1}}'))
    expect(Object.keys(value as object)).toEqual(['__proto__'])
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })

  test('accepts depth up to the limit and not one more', () => {
    expect(faultOf(`${'['.repeat(64)}${']'.repeat(64)}`)).toBe('none')
    expect(faultOf(`${'['.repeat(65)}${']'.repeat(65)}`)).toBe('too_deep')
    expect(faultOf('[[[]]]', { maxDepth: 2 })).toBe('too_deep')
  })
})

describe('refused text', () => {
  test('a hundred thousand brackets never reach the parser', () => {
    expect(faultOf('['.repeat(100_000))).toBe('too_deep')
    expect(faultOf('{"a":'.repeat(100_000))).toBe('too_deep')
  })

  const duplicates = [
    '{"a":1,"a":2}',
    '{"x":{"a":1,"b":2,"a":3}}',
    '[{"method":"tools/list","method":"tools/call"}]',
    '{"a":1,"\\u0061":2}',
    '{"a":[1,{"k":1}],"b":2,"a":3}',
    '{ "a" : 1 , "a" : 2 }',
    '{"__proto__":1,"__proto__":2}',
  ]
  for (const sample of duplicates) {
    test(`refuses the repeated key in ${sample}`, () => {
      expect(faultOf(sample)).toBe('duplicate_key')
    })
  }

  test('allows repeated keys where they are harmless', () => {
    expect(parseJson(bytes('{"a":1,"a":2}'), { repeatedKeys: 'allowed' })).toEqual({ a: 2 })
  })

  test('refuses a byte order mark and broken UTF-8', () => {
    expect(faultOf(new Uint8Array([0xef, 0xbb, 0xbf, 0x7b, 0x7d]))).toBe('encoding')
    expect(faultOf(new Uint8Array([0x22, 0xff, 0x22]))).toBe('encoding')
    expect(faultOf(new Uint8Array([0xff, 0xfe, 0x7b, 0x00]))).toBe('encoding')
  })

  for (const sample of ['', '{', '{"a"', '{"a":}', '"abc', '"\\', '{"\\x":1}', 'undefined', '{]']) {
    test(`refuses ${JSON.stringify(sample)} as syntax`, () => {
      expect(faultOf(sample)).toBe('syntax')
    })
  }

  test('no fault repeats what was sent', () => {
    for (const input of ['{"hunter2":1,"hunter2":2}', '{"hunter2"']) {
      try {
        parseJson(bytes(input))
        throw new Error('was accepted')
      } catch (error) {
        expect(String(error)).not.toContain('hunter2')
      }
    }
  })

  test('scans a megabyte of quotes and backslashes in linear time', () => {
    const text = `["${'\\\\\\"'.repeat(250_000)}"]`
    const start = performance.now()
    parseJson(bytes(text))
    expect(performance.now() - start).toBeLessThan(5_000)
  })
})

test('exact numbers keep their digits, and repeated keys are found beside them', () => {
  const text = '{"id":9007199254740993,"list":[12345678901234567890,{"id":1}]}'
  expect(JSON.stringify(parseJson(bytes(text), { numbers: 'exact' }))).toBe(text)
  const twice = '{"id":9007199254740993,"id":9007199254740995}'
  expect(faultOf(twice, { numbers: 'exact' })).toBe('duplicate_key')
})

describe('how much a text holds', () => {
  const keys = (count: number) =>
    JSON.stringify(Object.fromEntries(Array.from({ length: count }, (_, at) => [`k${at}`, 0])))

  test('counts keys, items and brackets before parsing, and refuses too many', () => {
    expect(faultOf(keys(9_000))).toBe('none')
    expect(faultOf(keys(90_000))).toBe('too_many_values')
    expect(faultOf(JSON.stringify(Array(90_000).fill(0)))).toBe('too_many_values')
    expect(faultOf(`[${Array(30_000).fill('[]').join(' ')}]`)).toBe('too_many_values')
    expect(faultOf('[1,2,3]', { maxValues: 3 })).toBe('none')
    expect(faultOf('[1,2,3]', { maxValues: 2 })).toBe('too_many_values')
  })

  test('never counts what stands in strings, and tells the count', () => {
    let counted = 0
    const text = JSON.stringify({ csv: 'a,b:c[{'.repeat(50_000) })
    parseJson(bytes(text), { onCounted: (values) => (counted = values) })
    expect(counted).toBe(2)
  })
})
