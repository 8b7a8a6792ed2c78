/** The truth table of BMM_LISTEN. */
import { expect, test } from 'bun:test'
import { listenAddresses, listenerName } from './listen-addresses.ts'

const table: [list: string, expected: string[]][] = [
  ['', ['127.0.0.1', '::1']],
  ['10.0.0.5', ['127.0.0.1', '::1', '10.0.0.5!']],
  [' 10.0.0.5 , [2001:DB8:0::5] ', ['127.0.0.1', '::1', '10.0.0.5!', '2001:db8::5!']],
  ['127.0.0.1', ['127.0.0.1!', '::1']],
  ['0.0.0.0', ['::1', '0.0.0.0!']],
  ['0.0.0.0,10.0.0.5', ['::1', '0.0.0.0!']],
  ['::', ['::!']],
  ['0:0:0:0:0:0:0:0,0.0.0.0,10.0.0.5', ['::!']],
]
for (const [list, expected] of table) {
  test(`listens on ${expected.join(' ')} for "${list}"`, () => {
    const found = listenAddresses(list).map((each) => each.hostname + (each.isNamed ? '!' : ''))
    expect(found).toEqual(expected)
  })
}

for (const list of ['localhost', '10.0.0.5:80', '10.0.0.0/8', '*', 'eth0,10.0.0.5']) {
  test(`refuses "${list}"`, () => {
    expect(() => listenAddresses(list)).toThrow('is not an IP address')
  })
}

test('refuses more addresses than it may have', () => {
  const list = Array.from({ length: 17 }, (_, at) => `10.0.0.${at}`).join()
  expect(() => listenAddresses(list)).toThrow('more than 16')
})

test('writes IPv6 in brackets', () => {
  expect([listenerName('::1', 80), listenerName('10.0.0.5', 80)]).toEqual([
    '[::1]:80',
    '10.0.0.5:80',
  ])
})
