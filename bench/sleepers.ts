/** Sleeping servers: what many servers that nobody calls cost in memory and processes. */
import { openPlatform, type Platform } from '@bmm/tests/platform'
import type { Stack } from '@bmm/tests/stack'
import { echoSpec } from './echo.ts'
import { type Figure, median } from './figure.ts'
import { documentOf } from './first-call.ts'
import { memoryByService, sandboxesOf } from './processor-time.ts'

const SERVERS = 1_000
/** An organisation may have 200. */
const ORGS = 5
/** Side by side for each organisation: enough to keep every builder at work. */
const BUILDS_AT_ONCE = 2
/** How often the stack is started with the servers, and as often without. */
const STARTS = 3
/** Feeds have told everybody by then, and collectors have run. */
const REST_MS = 12_000
const MEBIBYTE = 1024 * 1024

type Reading = { total: number; services: Map<string, number>; sandboxes: number }

/**
 * Every server is confirmed, built and deployed like any other. Then the stack starts anew, as it did before there were
 * any of them: what is in memory now is what is kept for servers that rest, without the garbage of building them.
 */
export async function measureSleepers({ stack }: Platform): Promise<Figure[]> {
  const without = await readings(stack)
  const begun = performance.now()
  await buildAll(stack)
  const builtMs = performance.now() - begun
  await Bun.sleep(REST_MS)
  const rightAfter = reading(stack)
  return figuresOf({ without, rightAfter, builtMs, resting: await readings(stack) })
}

async function readings(stack: Stack): Promise<Reading[]> {
  const all: Reading[] = []
  for (let start = 0; start < STARTS; start++) {
    await stack.restart()
    await Bun.sleep(REST_MS)
    all.push(reading(stack))
  }
  return all
}

/** Half of them with a code tool, half from a document of 20 operations. */
async function buildAll(stack: Stack): Promise<void> {
  const orgs = Array.from({ length: ORGS }, (_, org) => org)
  const owners = await Promise.all(
    orgs.map((org) => openPlatform(stack, `sleepers-${org}@example.com`)),
  )
  await Promise.all(owners.map((owner, org) => buildShare(owner, org)))
}

async function buildShare(owner: Platform, org: number): Promise<void> {
  const drafts = await Promise.all([
    owner.draft({ spec: echoSpec }),
    owner.draft({ document: JSON.stringify(documentOf('https://api.example.com')) }),
  ])
  let next = 0
  const work = async () => {
    while (next < SERVERS / ORGS) {
      const index = next++
      const draft = index % 2 === 0 ? drafts[0] : drafts[1]
      await owner.serve(draft, `sleeper-${org}-${index}`)
    }
  }
  await Promise.all(Array.from({ length: BUILDS_AT_ONCE }, work))
}

function reading(stack: Stack): Reading {
  const services = memoryByService(stack)
  const total = [...services.values()].reduce((sum, bytes) => sum + bytes, 0)
  return { total, services, sandboxes: sandboxesOf(stack) }
}

function figuresOf(measured: {
  without: Reading[]
  resting: Reading[]
  rightAfter: Reading
  builtMs: number
}): Figure[] {
  const { without, resting, rightAfter, builtMs } = measured
  const before = median(without.map(({ total }) => total))
  const grown = median(resting.map(({ total }) => total)) - before
  const more =
    Math.max(...resting.map(({ sandboxes }) => sandboxes)) -
    Math.max(...without.map(({ sandboxes }) => sandboxes))
  const spread = [...without, ...resting].map(({ total }) => mebibytes(total)).join(', ')
  const by = [...rightAfter.services.keys()].map((name) => {
    const of = (readings: Reading[]) => median(readings.map((each) => each.services.get(name) ?? 0))
    return `${name} ${mebibytes(of(resting) - of(without))}`
  })
  return [
    {
      what: `${SERVERS} sleeping servers: memory of all services after a start, beside the same stack started without them, ${STARTS} times each; sandboxes`,
      value: `${mebibytes(grown)} MiB more (${by.join(', ')}; starts: ${spread}), ${more} sandboxes more`,
      target: '≤ 64 MiB, none',
    },
    {
      what: `the same: building them, and memory ${REST_MS / 1_000} s later, before the new start`,
      value: `${Math.round(builtMs / 1_000)} s, ${mebibytes(rightAfter.total - before)} MiB more`,
    },
  ]
}

function mebibytes(bytes: number): string {
  return (bytes / MEBIBYTE).toFixed(1)
}
