/** Slots, pool size, admission, in-flight caps, fairness and crash loops: the runner's arithmetic. */
import { describe, expect, test } from 'bun:test'
import { createInFlight } from '../calls/in-flight.ts'
import { type AdmissionLimits, createAdmissionDesk } from './admission.ts'
import { createArrivals, poolTarget } from './arrivals.ts'
import { createCrashLoop } from './crash-loop.ts'
import { createFairQueue } from './fair-queue.ts'
import { createSlotTable } from './slot-table.ts'

function clock() {
  let at = 1_000_000
  return { now: () => at, pass: (ms: number) => (at += ms) }
}

describe('slots', () => {
  test('every slot is given once and a returned one comes last', () => {
    const slots = createSlotTable(3)
    expect([slots.take(), slots.take()]).toEqual([0, 1])
    slots.release(0)
    expect([slots.take(), slots.take(), slots.take()]).toEqual([2, 0, undefined])
    expect([slots.free, slots.taken]).toEqual([0, 3])
  })

  test('a slot that was not taken cannot be given back', () => {
    const slots = createSlotTable(2)
    expect(() => slots.release(1)).toThrow('not taken')
  })
})

describe('pool size', () => {
  test('follows the busiest second of the last minute and forgets it afterwards', () => {
    const time = clock()
    const arrivals = createArrivals(time.now)
    for (let wake = 0; wake < 5; wake++) arrivals.note()
    time.pass(30_000)
    arrivals.note()
    expect(arrivals.peak()).toBe(5)
    time.pass(45_000)
    expect(arrivals.peak()).toBe(1)
    time.pass(61_000)
    expect(arrivals.peak()).toBe(0)
  })

  test('stays within the bounds', () => {
    const bounds = { min: 2, max: 8 }
    expect([0, 5, 50].map((peak) => poolTarget(peak, bounds))).toEqual([2, 5, 8])
  })
})

describe('admission', () => {
  const limits: AdmissionLimits = {
    memoryBytes: 400,
    bytesPerSandbox: 100,
    sandboxesPerOrg: 3,
    wakeBurst: 10,
    wakesPerSecond: 2,
  }

  test('an organisation has at most its number of sandboxes and others still get theirs', () => {
    const desk = createAdmissionDesk(limits, clock().now)
    for (let n = 0; n < 3; n++) expect(desk.admit('org_a').admitted).toBe(true)
    expect(desk.admit('org_a')).toEqual({ admitted: false, why: 'org_sandboxes', excess: 1 })
    expect(desk.admit('org_b').admitted).toBe(true)
    desk.release('org_a')
    expect(desk.admit('org_a').admitted).toBe(true)
    expect(desk.admit('org_a')).toEqual({ admitted: false, why: 'org_sandboxes', excess: 1 })
  })

  test('no sandbox is admitted past the memory share', () => {
    const desk = createAdmissionDesk(limits, clock().now)
    for (const org of ['a', 'b', 'c', 'd']) expect(desk.admit(org).admitted).toBe(true)
    expect(desk.admit('e')).toEqual({ admitted: false, why: 'memory', excess: 1 })
  })

  test('the last eighth is for organisations that have no sandbox yet', () => {
    const bytesPerSandbox = limits.bytesPerSandbox
    const roomy = {
      ...limits,
      memoryBytes: 16 * bytesPerSandbox,
      sandboxesPerOrg: 12,
      wakeBurst: 16,
    }
    const desk = createAdmissionDesk(roomy, clock().now)
    for (let n = 0; n < 7; n++) {
      expect([desk.admit('org_a').admitted, desk.admit('org_b').admitted]).toEqual([true, true])
    }
    expect(desk.admit('org_a')).toEqual({ admitted: false, why: 'memory', excess: 1 })
    expect([desk.admit('org_c').admitted, desk.admit('org_d').admitted]).toEqual([true, true])
    expect(desk.admit('org_e')).toEqual({ admitted: false, why: 'memory', excess: 1 })
    expect(desk.admit('org_a')).toEqual({ admitted: false, why: 'memory', excess: 3 })
  })

  test('wakes are paced: a burst, then so many a second', () => {
    const time = clock()
    const desk = createAdmissionDesk(limits, time.now)
    for (let n = 0; n < limits.wakeBurst; n++) {
      expect(desk.admit('org_a').admitted).toBe(true)
      desk.release('org_a')
    }
    expect(desk.admit('org_a')).toEqual({ admitted: false, why: 'wakes', retryAfterMs: 500 })
    time.pass(500)
    expect(desk.admit('org_a').admitted).toBe(true)
    expect(desk.admit('org_a').admitted).toBe(false)
  })

  test('releasing what was never admitted is a bug that shows', () => {
    expect(() => createAdmissionDesk(limits, clock().now).release('org_a')).toThrow('no sandbox')
  })
})

describe('calls in flight', () => {
  const inFlight = () => createInFlight({ perSandbox: 2, perOrg: 3, perConnection: 4 })
  const owner = { connection: 1, orgId: 'org_a', sandboxKey: 'k1' }

  test('each limit refuses with its name and counts nothing', () => {
    const calls = inFlight()
    expect([calls.enter(owner), calls.enter(owner)]).toEqual([undefined, undefined])
    expect(calls.enter(owner)).toBe('sandbox')
    expect(calls.enter({ ...owner, sandboxKey: 'k2' })).toBeUndefined()
    expect(calls.enter({ ...owner, sandboxKey: 'k3' })).toBe('org')
    expect(calls.enter({ ...owner, orgId: 'org_b', sandboxKey: 'k4' })).toBeUndefined()
    expect(calls.enter({ ...owner, orgId: 'org_c', sandboxKey: 'k5' })).toBe('connection')
    expect(calls.calls).toBe(4)
  })

  test('a call that ended makes room', () => {
    const calls = inFlight()
    calls.enter(owner)
    calls.enter(owner)
    calls.leave(owner)
    expect(calls.enter(owner)).toBeUndefined()
  })

  test('a call cannot end twice', () => {
    const calls = inFlight()
    calls.enter(owner)
    calls.leave(owner)
    expect(() => calls.leave(owner)).toThrow('left twice')
  })
})

describe('the waiting line', () => {
  test('serves organisations in turn', () => {
    const line = createFairQueue<string>({ total: 10, perOrg: 5 })
    for (const item of ['a1', 'a2', 'a3', 'b1', 'c1', 'c2'])
      line.push(`org_${item.slice(0, 1)}`, item)
    const served = Array.from({ length: 7 }, () => line.shift())
    expect(served).toEqual(['a1', 'b1', 'c1', 'a2', 'c2', 'a3', undefined])
  })

  test('is bounded in all and for each organisation', () => {
    const line = createFairQueue<number>({ total: 3, perOrg: 2 })
    expect([1, 2, 3].map((item) => line.push('org_a', item))).toEqual([true, true, false])
    expect([4, 5].map((item) => line.push('org_b', item))).toEqual([true, false])
  })

  test('lets one go that no longer waits', () => {
    const line = createFairQueue<string>({ total: 3, perOrg: 3 })
    line.push('org_a', 'first')
    line.push('org_a', 'second')
    expect([line.remove('org_a', 'first'), line.remove('org_a', 'first')]).toEqual([true, false])
    expect([line.shift(), line.length]).toEqual(['second', 0])
  })
})

describe('crash loops', () => {
  test('the first crash is free, then waits double up to a bound', () => {
    const time = clock()
    const loop = createCrashLoop(time.now)
    const waits = Array.from({ length: 9 }, () => {
      loop.crashed('k')
      return loop.waitMs('k')
    })
    expect(waits).toEqual([0, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000])
    time.pass(29_999)
    expect(loop.waitMs('k')).toBe(1)
    time.pass(1)
    expect(loop.waitMs('k')).toBe(0)
  })

  test('an answer or two quiet minutes end the loop', () => {
    const time = clock()
    const loop = createCrashLoop(time.now)
    for (const key of ['answered', 'quiet']) for (let n = 0; n < 3; n++) loop.crashed(key)
    loop.recovered('answered')
    expect([loop.crashes('answered'), loop.crashes('quiet')]).toEqual([0, 3])
    time.pass(120_000)
    expect(loop.crashes('quiet')).toBe(0)
  })
})
