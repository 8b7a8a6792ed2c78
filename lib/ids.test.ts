import { expect, test } from 'bun:test'
import { isId, newId } from './ids.ts'

test('ids carry their prefix, differ, and sort by the time they were made', async () => {
  const first = newId('srv')
  await Bun.sleep(2)
  const second = newId('srv')
  expect(first).toMatch(/^srv_[0-9a-hjkmnp-tv-z]{26}$/)
  expect(first < second).toBe(true)
  expect(new Set(Array.from({ length: 10_000 }, () => newId('x'))).size).toBe(10_000)
})

test('isId knows its own prefix only', () => {
  expect(isId('srv', newId('srv'))).toBe(true)
  for (const text of [
    'srv_',
    'srv',
    newId('org'),
    `${newId('srv')}0`,
    newId('srv').toUpperCase(),
  ]) {
    expect(isId('srv', text)).toBe(false)
  }
})
