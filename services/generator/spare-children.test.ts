/** Spare children are handed out once, replaced when it is quiet, and never outlive their owner. */
import { afterEach, expect, test } from 'bun:test'
import { until } from '@bmm/lib/testing-until'
import type { DisposableChild } from './disposable.ts'
import { startImportChild } from './openapi/import-document.ts'
import { spareChildren } from './spare-children.ts'

const QUIET_MS = 300
const started: DisposableChild[] = []

/** A real child that waits for a document. */
function start(): DisposableChild {
  const child = startImportChild()
  started.push(child)
  return child
}
afterEach(() => {
  for (const child of started.splice(0)) child.kill()
})

test('one that waits is taken, and replaced when nobody took one for a while', async () => {
  using spare = spareChildren(start, 1)
  expect(started.length).toBe(1)
  expect(spare.start() === started[0]).toBe(true)
  expect(started.length).toBe(1)
  // Nobody waits for the next one: it starts at once.
  expect(spare.start() === started[1]).toBe(true)
  await until(() => started.length === 3)
  expect(spare.start() === started[2]).toBe(true)
})

test('one that died while it waited is not handed out', async () => {
  using spare = spareChildren(start, 1)
  started[0]?.kill()
  await until(() => started[0]?.isAlive() === false)
  expect(spare.start() === started[1]).toBe(true)
  expect(started[1]?.isAlive()).toBe(true)
})

test('one that waits long takes its document then, and only that one', async () => {
  using spare = spareChildren(start, 1)
  await Bun.sleep(500)
  const child = spare.start()
  const ending = await child.run(new TextEncoder().encode('{}\n'))
  expect(ending.kind === 'done' && new TextDecoder().decode(ending.output)).toContain(
    'The document is empty.',
  )
  expect(child.isAlive()).toBe(false)
})

test('those that wait end with their owner', async () => {
  const spare = spareChildren(start, 2)
  spare[Symbol.dispose]()
  await until(() => started.every((child) => !child.isAlive()))
  await Bun.sleep(QUIET_MS * 2)
  expect(started.length).toBe(2)
})
