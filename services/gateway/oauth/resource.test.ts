/** Finding the server of a grant: not being served is something else than not having heard. */
import { expect, test } from 'bun:test'
import { reasonOf } from '@bmm/lib/errors'
import { type ResourceOptions, resourceOfServer } from './resource.ts'

function ask(ageMs: number) {
  const servings = { knownServer: () => undefined, hint: async () => {}, ageMs: () => ageMs }
  return resourceOfServer('srv_1', { servings } as unknown as ResourceOptions)
}

test('a server that nobody serves has no resource', async () => {
  expect(await ask(2_000)).toBeUndefined()
})

test('before the generator was heard nobody can say so', async () => {
  const fault = await ask(Number.POSITIVE_INFINITY).catch(reasonOf)
  expect(fault).toBe('unavailable')
})
