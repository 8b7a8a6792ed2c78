/** Which credentials a server needs, so that all its operations together can be called. */
import type { CredentialSpec } from '@bmm/spec/server-spec'
import type { Notices } from './notices.ts'
import { credentialName, type Demand, type SecurityScheme } from './security.ts'

export type Asked = { demand: Demand; origin: string; pointer: string }

export type Credentials = {
  list: CredentialSpec[]
  /** True where the broker puts a credential in: the tool's input must not have it. */
  isFilled(origin: string, place: string, name: string): boolean
}

const MAX_CREDENTIALS = 20
const MAX_ORIGINS = 50

type Need = { scheme: SecurityScheme; origins: Set<string>; optional: boolean }

/**
 * Each operation takes its first alternative. The broker puts credentials in by origin, so two that travel in
 * the same place exclude each other there: the one that more operations name first is kept.
 */
export function credentialsFor(asked: readonly Asked[], notices: Notices): Credentials {
  const winners = winningSchemes(asked)
  const needs = new Map<string, Need>()
  for (const { demand, origin, pointer } of asked) {
    const chosen = demand.alternatives.find((schemes) =>
      schemes.every((scheme) => isSame(winners.get(`${origin} ${scheme.slot}`), scheme)),
    )
    if (chosen === undefined) {
      if (demand.alternatives.length > 0 && !demand.optional) {
        notices.warn(
          pointer,
          'The operation asks for a credential in a place where this server already sends another one; the API will probably refuse it. Import such operations into a server of their own.',
        )
      }
      continue
    }
    for (const { slot } of chosen) {
      const scheme = winners.get(`${origin} ${slot}`)
      if (scheme === undefined) continue
      const need = needs.get(scheme.name) ?? { scheme, origins: new Set(), optional: true }
      need.origins.add(origin)
      need.optional &&= demand.optional
      needs.set(scheme.name, need)
    }
  }
  return credentialList([...needs.values()], notices)
}

function winningSchemes(asked: readonly Asked[]): Map<string, SecurityScheme> {
  const votes = new Map<string, Map<string, { scheme: SecurityScheme; count: number }>>()
  for (const { demand, origin } of asked) {
    for (const [index, schemes] of demand.alternatives.entries()) {
      for (const scheme of schemes) {
        const slot = `${origin} ${scheme.slot}`
        const placed = votes.get(slot) ?? new Map()
        const kind = `${scheme.placement.scheme} ${scheme.placement.parameter ?? ''}`
        const vote = placed.get(kind) ?? { scheme, count: 0 }
        // Later alternatives only say that the scheme exists here.
        if (index === 0) vote.count += 1
        placed.set(kind, vote)
        votes.set(slot, placed)
      }
    }
  }
  return new Map(
    [...votes].flatMap(([slot, placed]) => {
      const [best] = [...placed.values()].sort((a, b) => b.count - a.count)
      return best === undefined ? [] : [[slot, best.scheme] as const]
    }),
  )
}

function isSame(winner: SecurityScheme | undefined, scheme: SecurityScheme): boolean {
  return (
    winner?.placement.scheme === scheme.placement.scheme &&
    winner.placement.parameter === scheme.placement.parameter
  )
}

function credentialList(needs: readonly Need[], notices: Notices): Credentials {
  const filled = new Set<string>()
  const names = new Set<string>()
  const list = needs.slice(0, MAX_CREDENTIALS).map(({ scheme, origins, optional }) => {
    const name = credentialName(scheme.name, (candidate) => names.has(candidate))
    names.add(name)
    for (const origin of origins) filled.add(`${origin} ${scheme.slot}`)
    return {
      name,
      description: scheme.description,
      ...scheme.placement,
      origins: [...origins].slice(0, MAX_ORIGINS),
      ...(optional ? { optional } : {}),
    }
  })
  if (needs.length > MAX_CREDENTIALS) {
    notices.warn(
      '/components/securitySchemes',
      `The operations ask for ${needs.length} credentials; only the first ${MAX_CREDENTIALS} were taken.`,
    )
  }
  return {
    list,
    isFilled: (origin, place, name) =>
      filled.has(`${origin} ${place} ${place === 'header' ? name.toLowerCase() : name}`),
  }
}
