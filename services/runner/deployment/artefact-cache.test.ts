/** Artefacts of servers that rest: dropped when there are too many, read once when they are wanted again. */
import { expect, test } from 'bun:test'
import { outcomeOf } from '@bmm/lib/testing-outcome'
import { createArtefactCache } from './artefact-cache.ts'
import type { LoadArtefact } from './deployment.ts'

const artefact = (bytes: number): LoadArtefact => ({
  tools: new Uint8Array(bytes),
  module: new Uint8Array(),
})

/** Counts what is read. */
function store() {
  const reads: string[] = []
  return {
    reads,
    read: (serverId: string, bytes: number) => async () => {
      reads.push(serverId)
      return artefact(bytes)
    },
  }
}

test('the least recently used are dropped when there are too many bytes', async () => {
  const { reads, read } = store()
  const cache = createArtefactCache(100)
  for (const serverId of ['a', 'b']) cache.put(serverId, artefact(40))
  await cache.get('a', read('a', 40))
  cache.put('c', artefact(40))
  await cache.get('a', read('a', 40))
  await cache.get('c', read('c', 40))
  expect(reads).toEqual([])
  await cache.get('b', read('b', 40))
  expect(reads).toEqual(['b'])
})

test('one that is larger than all that may be kept is served and not kept', async () => {
  const { reads, read } = store()
  const cache = createArtefactCache(100)
  cache.put('a', artefact(40))
  for (const _ of [1, 2]) expect((await cache.get('big', read('big', 101))).tools.length).toBe(101)
  await cache.get('a', read('a', 40))
  expect(reads).toEqual(['big', 'big', 'a'])
})

test('what many ask for at once is read once, and read again after a failure', async () => {
  const { reads, read } = store()
  const cache = createArtefactCache()
  const failing = async () => {
    throw new Error('Postgres is away')
  }
  expect(await outcomeOf(cache.get('a', failing))).toThrow('Postgres is away')
  await Promise.all([1, 2, 3].map(() => cache.get('a', read('a', 1))))
  expect(reads).toEqual(['a'])
})

test('what was read of an older version is not what the next one gets', async () => {
  const { reads, read } = store()
  const cache = createArtefactCache()
  const older = Promise.withResolvers<LoadArtefact>()
  const asked = cache.get('a', () => older.promise)
  cache.put('a', artefact(2))
  older.resolve(artefact(1))
  expect((await asked).tools.length).toBe(1)
  expect((await cache.get('a', read('a', 3))).tools.length).toBe(2)
  expect(reads).toEqual([])
})
