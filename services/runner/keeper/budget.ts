/** Processor time of each organisation's sandboxes together: what each used is read, and who wants more than the budget shares it. */
import { errorFrom } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import { sandboxCores, sandboxLimits } from '../sandbox/sandbox-limits.ts'
import type { StartedSandbox } from './driver.ts'

const PERIOD_MS = 200
/** The kernel counts in ticks of 10 ms, so that a small limit is compared with what was used in a longer time. */
const COMPARED_MS = 100
/** Who used this share of the own limit would have used more. */
const WANTS_MORE = 0.8
/** A smaller change of a limit is not worth a write, or a request of the engine. */
const NOTABLE = 0.1
/** The kernel takes no less. */
const LEAST_QUOTA_US = 1_000

type Limited = Pick<StartedSandbox, 'usedMs' | 'limit' | 'kill'>

type Member = {
  sandbox: Limited
  usedMs: number | undefined
  readAt: number
  limitCores: number
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

/** An organisation whose sandboxes could not exceed the budget anyway costs nothing. */
export function createBudgets(budgetCores: number, log: Log): Budgets {
  const organisations = new Map<string, Organisation>()
  const timer = setInterval(look, PERIOD_MS)

  function look() {
    for (const organisation of organisations.values()) {
      if (performance.now() < organisation.nextAt) continue
      const members = [...organisation.members]
      const isLimited = members.some(({ limitCores }) => limitCores < sandboxCores)
      if (!isLimited && members.length * sandboxCores <= budgetCores) continue
      organisation.nextAt = performance.now() + COMPARED_MS / share(members)
    }
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
      const now = { usedMs: sandbox.usedMs(), readAt: performance.now() }
      const member = { sandbox, ...now, limitCores: sandboxCores }
      const [limited = sandboxCores] = [...members].map((other) => other.limitCores)
      members.add(member)
      if (limited < sandboxCores) void apply(member, limited)
      return () => {
        members.delete(member)
        if (members.size === 0) organisations.delete(organisation)
      }
    },
    stop: () => clearInterval(timer),
  }
}

/** Cores that it would use by itself, as far as its last time tells; all that it could where nothing tells. */
function wishOf(member: Member): number {
  const { usedMs, readAt, limitCores } = member
  member.usedMs = member.sandbox.usedMs()
  member.readAt = performance.now()
  if (member.usedMs === undefined || usedMs === undefined) return sandboxCores
  const cores = Math.max(0, member.usedMs - usedMs) / (member.readAt - readAt)
  return cores >= limitCores * WANTS_MORE ? sandboxCores : cores
}
