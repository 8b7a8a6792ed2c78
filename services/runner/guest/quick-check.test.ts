/** The look beside the validator: what it passes, the validator passes too, and what it does not know it leaves alone. */
import { expect, test } from 'bun:test'
import { Validator } from '@cfworker/json-schema'
import { quickCheck } from './quick-check.ts'

const person = {
  type: 'object',
  description: 'A person.',
  properties: {
    name: { type: 'string' },
    age: { type: 'integer' },
    height: { type: 'number' },
    alive: { type: 'boolean', default: true },
    size: { type: 'string', enum: ['s', 'm', 'l'] },
    tags: { type: 'array', items: { type: 'string' } },
    any: { type: 'array' },
    address: { type: 'object', properties: { street: { type: 'string' } }, required: ['street'] },
  },
  required: ['name'],
  additionalProperties: false,
}
const values: unknown[] = [
  { name: 'Ada' },
  { name: 'Ada', age: 36, height: 1.6, alive: false, size: 'm', tags: ['a'], any: [1, 'a'] },
  { name: 'Ada', address: { street: 'x', number: 7 } },
  { name: 'Ada', address: {} },
  { name: 'Ada', address: [] },
  { name: 'Ada', age: 36.5 },
  { name: 'Ada', age: '36' },
  { name: 'Ada', age: 1e300 },
  { name: 'Ada', size: 'xl' },
  { name: 'Ada', tags: ['a', 1] },
  { name: 'Ada', tags: { 0: 'a' } },
  { name: 'Ada', more: 1 },
  { name: 7 },
  { name: null },
  {},
  [],
  null,
  'Ada',
  JSON.parse('{"name":"Ada","__proto__":1}'),
  { name: 'Ada', toString: 'own' },
]

for (const schema of [
  person,
  { ...person, additionalProperties: true },
  { type: 'object', required: ['toString'] },
  { type: 'object', properties: JSON.parse('{"__proto__":{"type":"string"}}') },
  { type: 'array', items: person },
  { type: 'integer' },
]) {
  test(`passes nothing that the validator refuses: ${JSON.stringify(schema).slice(0, 60)}`, () => {
    const check = quickCheck(schema)
    const validator = new Validator(structuredClone(schema) as object, '2020-12', false)
    for (const value of [...values, [values[0], values[1]], 7, 7.5]) {
      if (check?.(value)) expect(validator.validate(value).valid).toBe(true)
    }
  })
}

test('passes what fits', () => {
  const check = quickCheck(person)
  expect(values.slice(0, 3).map((value) => check?.(value))).toEqual([true, true, true])
  expect(values.slice(3, 7).map((value) => check?.(value))).toEqual([false, false, false, false])
})

for (const schema of [
  true,
  {},
  { type: ['string', 'null'] },
  { type: 'string', pattern: '^a' },
  { type: 'integer', minimum: 1 },
  { type: 'object', properties: { a: { $ref: '#/$defs/a' } }, $defs: { a: {} } },
  { type: 'object', properties: { a: true } },
  { type: 'object', additionalProperties: { type: 'string' } },
  { type: 'object', anyOf: [{ required: ['a'] }] },
  { type: 'array', items: [{ type: 'string' }] },
  { type: 'string', properties: {} },
  { type: 'toString' },
]) {
  test(`leaves to the validator: ${JSON.stringify(schema)}`, () => {
    expect(quickCheck(schema)).toBeUndefined()
  })
}
