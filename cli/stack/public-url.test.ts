import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findPublicUrl, movePublicUrl, openPublicUrl } from './public-url.ts'
import { openSettings } from './settings.ts'

const own = { postgres: 'embedded', redis: 'own' } as const
const first = 'https://mcp.example.test'
const second = 'https://tools.example.test'
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bmm-public-url-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

function started(given?: string) {
  const data = mkdtempSync(join(folder, 'data-'))
  const { port } = openSettings(data, 0, own)
  openPublicUrl(data, given)
  return { data, local: `http://localhost:${port}` }
}

test('keeps the address of the first start and tells it when the environment does not', () => {
  const { data } = started(first)
  expect(openPublicUrl(data, first)).toEqual({ publicUrl: first, formerUrls: [], told: undefined })
  const forgotten = openPublicUrl(data, undefined)
  expect(forgotten.publicUrl).toBe(first)
  expect(forgotten.told).toContain(first)
})

test.each([[undefined], [first]])('refuses another address than the first one, %p', (given) => {
  const { data, local } = started(given)
  expect(() => openPublicUrl(data, second)).toThrow(`belongs to ${given ?? local}`)
  expect(() => openPublicUrl(data, second)).toThrow(`public-url set ${second}`)
})

test('moves to another address and back, and remembers where it was', () => {
  const { data, local } = started()
  expect(movePublicUrl(data, first)).toEqual({ was: local, now: first })
  expect(movePublicUrl(data, second)).toEqual({ was: first, now: second })
  expect(findPublicUrl(data)).toEqual({ publicUrl: second, formerUrls: [local, first] })
  expect(openPublicUrl(data, second).formerUrls).toEqual([local, first])
  movePublicUrl(data, null)
  expect(findPublicUrl(data)).toEqual({ publicUrl: local, formerUrls: [first, second] })
  expect(openSettings(data, undefined, own).publicUrl).toBeNull()
})

test('changes nothing by a move to where it is', () => {
  const { data } = started(first)
  movePublicUrl(data, first)
  expect(findPublicUrl(data)).toEqual({ publicUrl: first, formerUrls: [] })
})

test('takes the address of the environment for data of a version that kept none', () => {
  const data = mkdtempSync(join(folder, 'old-'))
  const { port } = openSettings(data, 0, own)
  writeFileSync(join(data, 'config.json'), JSON.stringify({ port, ...own }))
  expect(openPublicUrl(data, first).publicUrl).toBe(first)
  expect(() => openPublicUrl(data, second)).toThrow(first)
})

test('refuses a move of a stack that was never started, and the 33rd address', () => {
  expect(() => movePublicUrl(mkdtempSync(join(folder, 'never-')), first)).toThrow('ever started')
  const { data } = started()
  for (let count = 0; count < 32; count++) movePublicUrl(data, `https://m${count}.example.test`)
  expect(() => movePublicUrl(data, 'https://last.example.test')).toThrow('32 other addresses')
})
