/** Whether one more sandbox may be woken: each organisation's share of sandboxes, memory and wakes. */

export type AdmissionLimits = {
  /** Memory that all sandboxes together may be expected to use. */
  memoryBytes: number
  /** What one sandbox is expected to use; its hard limit is higher and enforced by its cgroup. */
  bytesPerSandbox: number
  sandboxesPerOrg: number
  /** Wakes that an organisation may do at once after a rest. */
  wakeBurst: number
  wakesPerSecond: number
}

export type Admission =
  | { admitted: true }
  /** `excess`: so many sandboxes must end for this one, of the organisation or of all. */
  | { admitted: false; why: 'org_sandboxes' | 'memory'; excess: number }
  | { admitted: false; why: 'wakes'; retryAfterMs: number }

export type AdmissionDesk = {
  /** Counts one sandbox of the organisation when it answers `admitted`. */
  admit(orgId: string): Admission
  /** That sandbox has ended. */
  release(orgId: string): void
}

type Bucket = {
  tokens: number
  at: number
}

/** This part of all sandboxes goes to organisations that have none yet: busy ones together never take everything. */
const RESERVED_SHARE = 1 / 8

/** Organisations remembered for their wake tokens before full buckets are swept. */
const SWEEP_AT = 1_000

export function createAdmissionDesk(limits: AdmissionLimits, now: () => number): AdmissionDesk {
  const perOrg = new Map<string, number>()
  const buckets = new Map<string, Bucket>()
  const capacity = Math.floor(limits.memoryBytes / limits.bytesPerSandbox)
  const reserved = Math.floor(capacity * RESERVED_SHARE)
  let sandboxes = 0

  function bucketOf(orgId: string): Bucket {
    const at = now()
    const old = buckets.get(orgId) ?? { tokens: limits.wakeBurst, at }
    const refill = ((at - old.at) / 1_000) * limits.wakesPerSecond
    const bucket = { tokens: Math.min(limits.wakeBurst, old.tokens + refill), at }
    if (buckets.size > SWEEP_AT) sweep(at)
    buckets.set(orgId, bucket)
    return bucket
  }
  function sweep(at: number) {
    const fullAfterMs = (limits.wakeBurst / limits.wakesPerSecond) * 1_000
    for (const [orgId, bucket] of buckets) {
      if (at - bucket.at >= fullAfterMs) buckets.delete(orgId)
    }
  }

  return {
    admit(orgId) {
      const mine = perOrg.get(orgId) ?? 0
      if (mine >= limits.sandboxesPerOrg) {
        return { admitted: false, why: 'org_sandboxes', excess: mine - limits.sandboxesPerOrg + 1 }
      }
      const share = mine === 0 ? capacity : capacity - reserved
      if (sandboxes >= share) {
        return { admitted: false, why: 'memory', excess: sandboxes - share + 1 }
      }
      const bucket = bucketOf(orgId)
      if (bucket.tokens < 1) {
        const retryAfterMs = Math.ceil(((1 - bucket.tokens) / limits.wakesPerSecond) * 1_000)
        return { admitted: false, why: 'wakes', retryAfterMs }
      }
      bucket.tokens--
      perOrg.set(orgId, mine + 1)
      sandboxes++
      return { admitted: true }
    },
    release(orgId) {
      const mine = perOrg.get(orgId) ?? 0
      if (mine === 0) throw new Error(`organisation ${orgId} has no sandbox to release`)
      if (mine === 1) perOrg.delete(orgId)
      else perOrg.set(orgId, mine - 1)
      sandboxes--
    },
  }
}

/** The refusal as a sentence for the person behind the call. */
export function admissionRefusal(refused: Exclude<Admission, { admitted: true }>): string {
  switch (refused.why) {
    case 'org_sandboxes':
      return 'The organisation uses all of its sandboxes. Try again when a call has ended.'
    case 'memory':
      return 'All sandboxes of this installation are in use. Try again shortly.'
    case 'wakes':
      return `The organisation wakes sandboxes too fast. Try again in ${Math.ceil(refused.retryAfterMs / 1_000)} s.`
    default:
      return refused satisfies never
  }
}
