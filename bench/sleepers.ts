/** Sleeping servers: what many servers that nobody calls cost in memory and processes. */
import { openPlatform, type Platform } from '@bmm/tests/platform'
import { echoSpec } from './echo.ts'
import type { Figure } from './figure.ts'
import { memoryOfServices, sandboxesOf } from './processor-time.ts'

const SERVERS = 1_000
/** An organisation may have 200. */
const ORGS = 5
/** Feeds have told everybody by then, and collectors have run. */
const REST_MS = 15_000

/** Takes some minutes: every server is confirmed, built and deployed like any other. */
export async function measureSleepers(platform: Platform): Promise<Figure[]> {
  const { stack } = platform
  const owners = await Promise.all(
    Array.from({ length: ORGS }, (_, org) => openPlatform(stack, `sleepers-${org}@example.com`)),
  )
  const drafts = await Promise.all(owners.map((owner) => owner.draft({ spec: echoSpec })))
  await Bun.sleep(REST_MS)
  const before = memoryOfServices(stack)
  const sandboxes = sandboxesOf(stack)
  await Promise.all(
    owners.map(async (owner, org) => {
      const draft = drafts[org]
      for (let index = 0; draft !== undefined && index < SERVERS / ORGS; index++) {
        await owner.serve(draft, `sleeper-${org}-${index}`)
      }
    }),
  )
  await Bun.sleep(REST_MS)
  const grown = (memoryOfServices(stack) - before) / 1024 / 1024
  const more = sandboxesOf(stack) - sandboxes
  return [
    {
      what: `${SERVERS} sleeping servers: memory (PSS of all services), sandboxes`,
      value: `${grown.toFixed(0)} MiB more, ${more} sandboxes more`,
      target: '≤ 64 MiB, none',
    },
  ]
}
