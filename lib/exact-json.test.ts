/** Numbers that a double would change keep their digits; all others are ordinary numbers. */
import { expect, test } from 'bun:test'
import { isRawNumber, mayLoseDigits, parseExactly, plainDigits, withDoubles } from './exact-json.ts'

const again = (text: string) => JSON.stringify(parseExactly(text).value)

test.each([
  '9007199254740993',
  '-9007199254740993',
  '1000000000000000000000',
  '18446744073709551615',
  '0.1000000000000000055',
  '1234567890.12345678',
  '1E400',
  '-1e-400',
  '0.30000000000000000001',
  `${'9'.repeat(5000)}`,
])('keeps %s as it was written', (number) => {
  expect(again(`{"a":[${number}]}`)).toBe(`{"a":[${number}]}`)
  expect(parseExactly(`[${number},1,"a"]`).raws).toBe(1)
})

test.each([
  '9007199254740992',
  '9007199254740994',
  '0.1000000000000000',
  '1.0000000000000000000',
  '12e3',
  '0.30000000000000004',
  '1e100',
  '5e-324',
  '-0',
])('makes a plain number of %s', (number) => {
  expect(parseExactly(`[${number}]`).value).toEqual([Number(number)])
})

test('leaves text alone, and looks closely only where there are long runs of digits', () => {
  const text = '{"card":"4111111111111111","a":1}'
  expect(parseExactly(text)).toEqual({ value: JSON.parse(text), raws: 0 })
  expect(mayLoseDigits('{"a":123456789012345,"b":"x"}')).toBe(false)
  expect(() => parseExactly('{"a":9007199254740993')).toThrow(SyntaxError)
})

test('takes no object for a number, however it is named', () => {
  const { value } = parseExactly('{"rawJSON":"1","id":9007199254740993}')
  expect(isRawNumber(value)).toBe(false)
  expect(isRawNumber((value as { id: unknown }).id)).toBe(true)
  expect(withDoubles(value)).toEqual({ rawJSON: '1', id: 9007199254740992 })
})

test.each([
  ['1e21', '1000000000000000000000'],
  ['1e+21', '1000000000000000000000'],
  ['-1.25E3', '-1250'],
  ['1.5e-7', '0.00000015'],
  ['12.50e1', '125'],
  ['0e5', '0'],
  ['9007199254740993', '9007199254740993'],
  ['1E400', '1E400'],
  ['0.5', '0.5'],
])('writes %s as %s', (number, digits) => {
  expect(plainDigits(number)).toBe(digits)
})
