/** The sandbox key: who shares a process with whom. */
import { expect, test } from 'bun:test'
import { sandboxKey } from './sandbox-key.ts'

const parts = { serverId: 'srv_a', epoch: 3, userId: 'usr_x' }

test('calls of one user to one version share a key', () => {
  expect(sandboxKey(parts)).toBe(sandboxKey({ ...parts }))
})

test('another server, epoch or user is another key', () => {
  const others = [{ serverId: 'srv_b' }, { epoch: 4 }, { userId: 'usr_y' }]
  const keys = others.map((other) => sandboxKey({ ...parts, ...other }))
  expect(new Set([sandboxKey(parts), ...keys]).size).toBe(4)
})
