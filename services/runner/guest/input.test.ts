/** What a caller is told about arguments that do not fit. */
import { expect, test } from 'bun:test'
import { schemaCheck } from './input.ts'

const book = {
  type: 'object',
  required: ['title'],
  properties: { title: { type: 'string' }, 'year"s': { type: 'integer' } },
}

test('a property that is not there is named with its place', () => {
  const check = schemaCheck({ ...book, properties: { book }, required: ['book', 'id'] })
  expect(check({})).toEqual(['book: It is missing.', 'id: It is missing.'])
  expect(check({ id: 1, book: {} })).toEqual(['book.title: It is missing.'])
  expect(schemaCheck({ ...book, required: ['year"s'] })({})).toEqual(['year"s: It is missing.'])
  expect(check([])).toHaveLength(1)
})
