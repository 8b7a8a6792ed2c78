/** Who opened values hears that they were changed, through the generated client. */
import { expect, test } from 'bun:test'
import { watch } from '@bmm/lib/client'
import { reason } from '@bmm/lib/testing-outcome'
import { EVERYTHING, openChanges } from './changes.ts'
import { owner, vaultOfFile } from './testing.ts'

const vault = await vaultOfFile()

test('a watch begins with everything and names each changed server, until the process ends', async () => {
  const { serverId } = await vault.makeServer()
  const events = watch(vault.secrets('broker').watchSecrets, {})
  const next = async () => (await events.next()).value?.serverId
  expect(await next()).toBe(EVERYTHING)
  await vault.put(serverId)
  expect(await next()).toBe(serverId)
  const secrets = vault.secrets('gateway')
  await secrets.deleteSecret({ serverId, name: 'API_KEY' }, await vault.user(owner))
  expect(await next()).toBe(serverId)
  const nothing = secrets.deleteSecret({ serverId, name: 'API_KEY' }, await vault.user(owner))
  expect(await reason(nothing)).toBe('secret_not_found')
  vault.endWatches()
  expect((await events.next()).done).toBe(true)
})

test('a slow watcher is told once of many changes, and to forget everything after too many', async () => {
  const ending = new AbortController()
  const changes = openChanges(ending.signal)
  const events = changes.watch(new AbortController().signal)
  expect((await events.next()).value).toBe(EVERYTHING)
  for (let time = 0; time < 3; time++) changes.announce('srv_a')
  changes.announce('srv_b')
  expect((await events.next()).value).toBe('srv_a')
  expect((await events.next()).value).toBe('srv_b')
  for (let id = 0; id <= 10_000; id++) changes.announce(`srv_${id}`)
  expect((await events.next()).value).toBe(EVERYTHING)
  ending.abort()
  expect((await events.next()).done).toBe(true)
})

test('a seventeenth watcher is refused, and takes its place when another one leaves', async () => {
  const changes = openChanges(new AbortController().signal)
  const readers = Array.from({ length: 16 }, () => new AbortController())
  const watches = readers.map(({ signal }) => changes.watch(signal))
  for (const events of watches) await events.next()
  const late = () => changes.watch(new AbortController().signal).next()
  expect(await reason(late())).toBe('too_many_watchers')
  readers[0]?.abort()
  await watches[0]?.next()
  expect((await late()).value).toBe(EVERYTHING)
})
