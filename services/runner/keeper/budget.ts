/** Processor time of sandboxes: what each has used decides its limit within its organisation's budget, and its rank. */
import { errorFrom } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import { sandboxCores, sandboxLimits } from '../sandbox/sandbox-limits.ts'
import type { StartedSandbox } from './driver.ts'
import { coresBetween, firstRank, nextRank, type Rank, type Reading } from './rank.ts'

const PERIOD_MS = 100
/** Of the keeper's time: with more sandboxes than that is enough for, each is looked at less often. */
const LOOKING_SHARE = 0.05
/** The kernel counts in ticks of 10 ms, so that a small limit is compared with what was used in a longer time. */
const COMPARED_MS = 100
/** Who used this share of the own limit would have used more. */
const WANTS_MORE = 0.8
/** A smaller change of a limit is not worth a write, or a request of the engine. */
const NOTABLE = 0.1
/** The kernel takes no less. */
const LEAST_QUOTA_US = 1_000

type Limited = Pick<StartedSandbox, 'usedMs' | 'limit' | 'stand' | 'kill'>

type Member = {
  sandbox: Limited
  limitCores: number
  /** What was read when its wish was last asked. */
  wishedAt: Reading
  /** As of the last look, with what was read then. */
  rank: Rank
  /** What the driver was told last, and whether it is being told. */
  isBehind: boolean
  isTelling: boolean
}

type Organisation = {
  members: Set<Member>
  nextAt: number
}

export type Budgets = {
  /** From now on the sandbox counts for the organisation; ids are opaque here. Answers how it ceases to. */
  join(organisation: string, sandbox: Limited): () => void
  stop(): void
}

/** The limit for each that fits these wishes into the budget: small wishes are granted, the others share evenly. */
export function shareOut(wishes: readonly number[], budgetCores: number): number {
  let left = budgetCores
  let sharers = wishes.length
  for (const wish of wishes.toSorted((a, b) => a - b)) {
    if (wish * sharers > left) return left / sharers
    left -= wish
    sharers--
  }
  return sandboxCores
}

/** Shared out are the budgets of those organisations only whose sandboxes could exceed it. */
export function createBudgets(budgetCores: number, log: Log): Budgets {
  const organisations = new Map<string, Organisation>()
  let timer = setTimeout(look, PERIOD_MS)

  function look() {
    const begunAt = performance.now()
    for (const organisation of organisations.values()) {
      const members = [...organisation.members]
      for (const member of members) rankAnew(member)
      if (performance.now() < organisation.nextAt) continue
      const isLimited = members.some(({ limitCores }) => limitCores < sandboxCores)
      if (!isLimited && members.length * sandboxCores <= budgetCores) continue
      organisation.nextAt = performance.now() + COMPARED_MS / share(members)
    }
    const tookMs = performance.now() - begunAt
    timer = setTimeout(look, Math.max(PERIOD_MS, tookMs / LOOKING_SHARE))
  }

  /** Answers the limit of each. */
  function share(members: readonly Member[]): number {
    const limit = Math.min(sandboxCores, shareOut(members.map(wishOf), budgetCores))
    for (const member of members) {
      const change = Math.abs(limit - member.limitCores)
      const isFull = limit === sandboxCores && change > 0
      if (isFull || change > member.limitCores * NOTABLE) void apply(member, limit)
    }
    return limit
  }

  function rankAnew(member: Member): void {
    member.rank = nextRank(member.rank, read(member.sandbox), member.limitCores * WANTS_MORE)
    const { isBehind } = member.rank
    if (isBehind !== member.isBehind && !member.isTelling) void tell(member, isBehind)
  }

  /** One after the other, as an engine takes its time; what failed is told again in the next period. */
  async function tell(member: Member, isBehind: boolean): Promise<void> {
    member.isTelling = true
    try {
      await member.sandbox.stand(isBehind)
      member.isBehind = isBehind
    } catch (error) {
      log.warn({ err: errorFrom(error) }, 'a sandbox keeps the rank that it had')
    } finally {
      member.isTelling = false
    }
  }

  /** Fails closed: what cannot be limited is ended. */
  async function apply(member: Member, limitCores: number): Promise<void> {
    member.limitCores = limitCores
    const quotaUs = Math.round(limitCores * sandboxLimits.cpuPeriodUs)
    try {
      await member.sandbox.limit(Math.max(LEAST_QUOTA_US, quotaUs))
    } catch (error) {
      log.error({ err: errorFrom(error) }, 'a sandbox could not be limited and is ended')
      member.sandbox.kill()
    }
  }

  return {
    join(organisation, sandbox) {
      const entry = organisations.get(organisation) ?? { members: new Set(), nextAt: 0 }
      const { members } = entry
      organisations.set(organisation, entry)
      const reading = read(sandbox)
      const member: Member = {
        ...{ sandbox, limitCores: sandboxCores, wishedAt: reading, rank: firstRank(reading) },
        ...{ isBehind: false, isTelling: false },
      }
      const [limited = sandboxCores] = [...members].map((other) => other.limitCores)
      members.add(member)
      if (limited < sandboxCores) void apply(member, limited)
      return () => {
        members.delete(member)
        if (members.size === 0) organisations.delete(organisation)
      }
    },
    stop: () => clearTimeout(timer),
  }
}

function read(sandbox: Limited): Reading {
  return { usedMs: sandbox.usedMs(), atMs: performance.now() }
}

/** Cores that it would use by itself, as far as its last time tells; all that it could where nothing tells. */
function wishOf(member: Member): number {
  const { wishedAt, rank, limitCores } = member
  member.wishedAt = rank.reading
  const cores = coresBetween(wishedAt, rank.reading) ?? sandboxCores
  return cores >= limitCores * WANTS_MORE ? sandboxCores : cores
}
