/** The official conformance suite: its server scenarios in two revisions, and those for authorization servers. */

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { findFreePort } from '@bmm/lib/free-port'
import { authorize } from '../mcp-client.ts'
import { openPlatform, type Platform } from '../platform.ts'
import { type Stack, startStack } from '../stack.ts'
import { fixtureSpec } from './fixture-spec.ts'
import { type Shim, startShim } from './shim.ts'
import { runAuthorizationSuite, runServerSuite } from './suite.ts'

/** Checks that a server of tools on the official SDK, version 2, passes with the same runner. */
const floors = { '2026-07-28': 106, '2025-11-25': 42 }
const RUN_TIMEOUT_MS = 300_000

let stack: Stack
let platform: Platform
let url: string
let shim: Shim

beforeAll(async () => {
  stack = await startStack()
  platform = await openPlatform(stack, 'conformance@example.com')
  url = await platform.serve(await platform.draft({ spec: fixtureSpec }), 'conformance')
  shim = startShim(url, () => platform.token(url, platform.builder))
}, 120_000)
afterAll(async () => {
  await shim?.[Symbol.asyncDispose]()
  await stack?.[Symbol.asyncDispose]()
})

describe('the suite for servers', () => {
  test.each(Object.entries(floors))(
    'of %s: no check fails but those that are expected to, and they all do; at least %i pass',
    async (revision, floor) => {
      const { code, lines, ended } = await runServerSuite(revision, shim.url)
      // The suite compares with the file of expected failures itself; what it says about that comes last.
      expect([code, code === 0 ? '' : lines.slice(-40).join('\n')]).toEqual([0, ''])
      expect(ended('SUCCESS').length).toBeGreaterThanOrEqual(floor)
    },
    RUN_TIMEOUT_MS,
  )
})

describe('the suite for authorization servers', () => {
  test(
    'both scenarios, with a client that the operator registered',
    async () => {
      const created = await stack.run(
        ...['clients', 'create', '--name', 'Conformance', '--json'],
        ...['--redirect-uri', 'http://127.0.0.1/callback'],
      )
      const { clientId } = JSON.parse(created)
      const { email, browser } = platform.builder
      const visited: Promise<void>[] = []
      const visit = (address: string) => {
        const way = authorize(stack, address, email, browser)
        visited.push(way.then(({ callback }) => fetch(callback)).then(() => undefined))
      }
      const target = { issuer: stack.gateway, clientId, resource: url, port: findFreePort() ?? 0 }
      const result = await runAuthorizationSuite(target, visit)
      await Promise.all(visited)
      expect(result.ended('FAILURE')).toEqual([])
      expect(result.ended('SUCCESS').map(({ check }) => check)).toEqual([
        'authorization-code-grant:authorization-code-grant',
        'authorization-server-metadata-endpoint:authorization-server-metadata',
      ])
      // A recommendation: clients register here instead of publishing a document about themselves.
      expect(result.ended('WARNING').map(({ check }) => check)).toEqual([
        'authorization-server-metadata-endpoint:authorization-server-metadata-cimd',
      ])
      expect(result.code).toBe(0)
    },
    RUN_TIMEOUT_MS,
  )
})
