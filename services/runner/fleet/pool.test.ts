/** The pool by itself: who gets the next sandbox, how it fills and shrinks, and what a failing start does. */
import { afterEach, expect, test } from 'bun:test'
import { testLog } from '@bmm/lib/testing'
import { outcomeOf } from '@bmm/lib/testing-outcome'
import { until } from '@bmm/lib/testing-until'
import type { Sandbox, SandboxEnd } from '../sandbox/sandbox.ts'
import { createPool, type Pool } from './pool.ts'

type FakeSandbox = Sandbox & { end(): void }
const pools: Pool[] = []
afterEach(() => {
  for (const pool of pools.splice(0)) pool.stop()
})

/** A sandbox that does nothing but end. */
function fakeSandbox(slot: number): FakeSandbox {
  const gone = Promise.withResolvers<SandboxEnd>()
  let ended = false
  function end() {
    ended = true
    gone.resolve({ code: 'exited', message: '', detail: '' })
  }
  return {
    ...{ slot, egressToken: 'token', inFlight: 0, gone: gone.promise, stop: end, end },
    ...{
      isInFlight: () => false,
      traceOf: () => undefined,
      exited: end,
      cancel: () => {},
      call: () => 1,
    },
    load: async () => [],
    get ended() {
      return ended
    },
  }
}

function openPool(options: { launch?: () => Promise<Sandbox>; slots?: () => boolean } = {}) {
  const launched: FakeSandbox[] = []
  const roomAsked = { times: 0 }
  const charged: [number, string][] = []
  const pool = createPool({
    launch: async () => {
      if (options.launch !== undefined) return options.launch()
      const sandbox = fakeSandbox(launched.length)
      launched.push(sandbox)
      return sandbox
    },
    hasSlot: options.slots ?? (() => true),
    makeRoom: () => {
      roomAsked.times++
    },
    charge: (slot, orgId) => void charged.push([slot, orgId]),
    bounds: { min: 2, max: 4 },
    now: Date.now,
    log: testLog,
  })
  pools.push(pool)
  return { pool, launched, roomAsked, charged }
}
const never = new AbortController().signal

test('it fills to its size when it opens, hands over, and fills again', async () => {
  const { pool, launched, charged } = openPool()
  expect(launched.length).toBe(0)
  pool.open()
  await until(() => pool.warm === 2, 'two warm ones')
  const taken = await pool.take('org_a', never)
  expect(taken.slot).toBe(0)
  expect(charged).toEqual([[0, 'org_a']])
  await until(() => pool.warm === 2, 'two again')
  expect(launched.length).toBe(3)
})

test('those who wait are served organisation by organisation', async () => {
  const gates: ((sandbox: Sandbox) => void)[] = []
  const { pool, charged } = openPool({
    launch: () => new Promise((resolve) => gates.push(resolve)),
  })
  pool.open()
  const order: string[] = []
  for (const name of ['a1', 'a2', 'a3', 'b1']) {
    const org = `org_${name.slice(0, 1)}`
    void pool.take(org, never).then(() => order.push(name))
  }
  for (let slot = 0; order.length < 4; slot++) {
    gates.shift()?.(fakeSandbox(slot))
    await Bun.sleep(1)
  }
  expect(order).toEqual(['a1', 'b1', 'a2', 'a3'])
  expect(charged.map(([, org]) => org)).toEqual(['org_a', 'org_b', 'org_a', 'org_a'])
})

test('a failed start tells one who waits, and the next start waits longer each time', async () => {
  const starts: number[] = []
  const { pool } = openPool({
    launch: async () => {
      starts.push(performance.now())
      throw new Error('no')
    },
  })
  pool.open()
  expect(await outcomeOf(pool.take('org_a', never))).toThrow('no')
  await until(() => starts.length >= 4, 'some more starts')
  expect((starts.at(-1) ?? 0) - (starts[0] ?? 0)).toBeGreaterThan(100)
})

test('a warm one that ends by itself is not handed over', async () => {
  const { pool, launched } = openPool()
  pool.open()
  await until(() => pool.warm === 2, 'two warm ones')
  launched[0]?.end()
  expect((await pool.take('org_a', never)).slot).toBe(1)
})

test('a start from before the pool closed serves nobody, and its failure is nobody’s', async () => {
  const gates: PromiseWithResolvers<Sandbox>[] = []
  const { pool } = openPool({
    launch: () => {
      const gate = Promise.withResolvers<Sandbox>()
      gates.push(gate)
      return gate.promise
    },
  })
  pool.open()
  expect(gates.length).toBe(2)
  pool.close('the broker is gone')
  pool.open()
  const taken = pool.take('org_a', never)
  const outdated = fakeSandbox(7)
  gates[0]?.reject(new Error('its broker is gone'))
  gates[1]?.resolve(outdated)
  await until(() => gates.length >= 4 && outdated.ended, 'new starts, and the old one ended')
  gates[2]?.resolve(fakeSandbox(8))
  expect((await taken).slot).toBe(8)
})

test('when nothing can start, those who wait and those who ask learn why', async () => {
  const { pool } = openPool({ launch: () => new Promise(() => {}) })
  expect(await outcomeOf(pool.take('org_a', never))).toThrow('starting')
  pool.open()
  const waiting = pool.take('org_a', never)
  pool.close('The keeper is away.')
  expect(await outcomeOf(waiting)).toThrow('The keeper is away.')
  expect(await outcomeOf(pool.take('org_a', never))).toThrow('The keeper is away.')
})

test('closing ends the warm ones', async () => {
  const { pool, launched } = openPool()
  pool.open()
  await until(() => pool.warm === 2, 'two warm ones')
  pool.close('away')
  expect([pool.warm, launched.every((sandbox) => sandbox.ended)]).toEqual([0, true])
})

test('one who gives up leaves the line', async () => {
  const { pool } = openPool({ launch: () => new Promise(() => {}) })
  pool.open()
  const giveUp = new AbortController()
  const waiting = pool.take('org_a', giveUp.signal)
  giveUp.abort(new Error('gave up'))
  expect(await outcomeOf(waiting)).toThrow('gave up')
  expect(pool.waiting).toBe(0)
})

test('without a slot it asks for room, but only for those who wait', async () => {
  let slots = false
  const { pool, roomAsked } = openPool({ slots: () => slots })
  pool.open()
  expect(roomAsked.times).toBe(0)
  const waiting = pool.take('org_a', never)
  expect(roomAsked.times).toBe(1)
  slots = true
  pool.roomMade()
  expect((await waiting).slot).toBe(0)
})

test('an organisation that asks for more than its part of the line is turned away', async () => {
  const { pool } = openPool({ launch: () => new Promise(() => {}) })
  pool.open()
  const asked = Array.from({ length: 201 }, () => pool.take('org_a', never))
  for (const one of asked) one.catch(() => {})
  expect(await outcomeOf(asked.at(-1))).toThrow('Too many calls wait')
  const other = pool.take('org_b', never)
  other.catch(() => {})
  expect(pool.waiting).toBe(201)
})
