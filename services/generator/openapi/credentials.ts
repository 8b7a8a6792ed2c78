/** Which credentials a server needs, and which of them each of its operations sends. */
import type { CredentialSpec } from '@bmm/spec/server-spec'
import type { Notices } from './notices.ts'
import { credentialName, type Demand, type SecurityScheme } from './security.ts'

export type Asked = { demand: Demand; origin: string; pointer: string }

/** What the broker puts into the requests of one operation. */
export type SentCredentials = {
  names: readonly string[]
  /** True where the broker puts a credential in: the tool's input must not have it. */
  isFilled(place: string, name: string): boolean
}

export type Credentials = {
  list: CredentialSpec[]
  /** By the pointer of the operation. */
  sentBy(pointer: string): SentCredentials
  /** Those of two operations that the broker cannot tell apart; of two in one place, the first. */
  joined(some: readonly string[], others: readonly string[]): readonly string[]
  /** Whether these are all credentials that go to the origin. */
  areAll(names: readonly string[], origin: string): boolean
}

const MAX_CREDENTIALS = 20
const MAX_ORIGINS = 50

type Need = { scheme: SecurityScheme; origins: Set<string>; optional: boolean }
type Choice = Asked & { schemes: readonly SecurityScheme[] }
/** The scheme that most operations of an origin send in one place, by origin and slot. */
type Winners = ReadonlyMap<string, SecurityScheme>

/**
 * Each operation takes its first alternative that the others need as well. Of two schemes that travel in one place,
 * the one that fewer operations name is optional: a server can be built and used without it.
 */
export function credentialsFor(asked: readonly Asked[], notices: Notices): Credentials {
  const winners = winningSchemes(asked)
  const choices = asked.map((one) => ({ ...one, schemes: chosenSchemes(one, winners, notices) }))
  const needs = new Map<string, Need>()
  for (const { schemes, demand, origin } of choices) {
    for (const scheme of schemes) {
      const need = needs.get(scheme.identity) ?? { scheme, origins: new Set(), optional: true }
      need.origins.add(origin)
      need.optional &&= demand.optional || !isWinner(winners, origin, scheme)
      needs.set(scheme.identity, need)
    }
  }
  const named = namedCredentials([...needs.values()], notices)
  tellRareOnes(choices, winners, named, notices)
  return credentialsOf(choices, winners, named)
}

function winningSchemes(asked: readonly Asked[]): Winners {
  const votes = new Map<string, Map<string, { scheme: SecurityScheme; count: number }>>()
  for (const { demand, origin } of asked) {
    for (const [index, schemes] of demand.alternatives.entries()) {
      for (const scheme of schemes) {
        const slot = `${origin} ${scheme.slot}`
        const placed = votes.get(slot) ?? new Map()
        const vote = placed.get(scheme.identity) ?? { scheme, count: 0 }
        // Later alternatives only say that the scheme exists here.
        if (index === 0) vote.count += 1
        placed.set(scheme.identity, vote)
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

function isWinner(winners: Winners, origin: string, scheme: SecurityScheme): boolean {
  return winners.get(`${origin} ${scheme.slot}`)?.identity === scheme.identity
}

function chosenSchemes(
  { demand, origin, pointer }: Asked,
  winners: Winners,
  notices: Notices,
): readonly SecurityScheme[] {
  const possible = demand.alternatives.filter(haveOwnPlaces)
  const shared = possible.find((schemes) =>
    schemes.every((scheme) => isWinner(winners, origin, scheme)),
  )
  const chosen = shared ?? possible[0]
  if (chosen === undefined && demand.alternatives.length > 0 && !demand.optional) {
    notices.warn(
      pointer,
      'The operation asks for two credentials in the same place of one request, so it is called without either.',
    )
  }
  return chosen ?? []
}

/** Several names of one token (OAuth scopes, say) are one value; other schemes cannot share a place. */
function haveOwnPlaces(schemes: readonly SecurityScheme[]): boolean {
  const bySlot = new Map(schemes.map(({ slot, identity }) => [slot, identity]))
  return schemes.every(({ slot, identity }) => bySlot.get(slot) === identity)
}

type Named = ReadonlyMap<string, CredentialSpec>

function namedCredentials(needs: readonly Need[], notices: Notices): Named {
  const names = new Set<string>()
  if (needs.length > MAX_CREDENTIALS) {
    notices.warn(
      '/components/securitySchemes',
      `The operations ask for ${needs.length} credentials; only the first ${MAX_CREDENTIALS} were taken.`,
    )
  }
  // Sorting is stable: what is optional goes last, and is the first to be left out.
  const first = [...needs].sort((a, b) => Number(a.optional) - Number(b.optional))
  return new Map(
    first.slice(0, MAX_CREDENTIALS).map(({ scheme, origins, optional }) => {
      const name = credentialName(scheme.name, (candidate) => names.has(candidate))
      names.add(name)
      return [
        scheme.identity,
        {
          name,
          description: scheme.description,
          ...scheme.placement,
          origins: [...origins].slice(0, MAX_ORIGINS),
          ...(optional ? { optional } : {}),
        },
      ] as const
    }),
  )
}

function tellRareOnes(
  choices: readonly Choice[],
  winners: Winners,
  named: Named,
  notices: Notices,
): void {
  for (const { schemes, origin, pointer } of choices) {
    for (const scheme of schemes) {
      const usual = named.get(winners.get(`${origin} ${scheme.slot}`)?.identity ?? '')
      const own = named.get(scheme.identity)
      if (own === undefined || usual === undefined || own === usual) continue
      notices.warn(
        pointer,
        `The operation sends the credential ${own.name} where most others send ${usual.name}. Until ${own.name} has a value, it is called without a credential there.`,
      )
    }
  }
}

function credentialsOf(choices: readonly Choice[], winners: Winners, named: Named): Credentials {
  const usual = new Map<string, SecurityScheme[]>()
  for (const [key, scheme] of winners) {
    const origin = key.slice(0, key.indexOf(' '))
    usual.set(origin, [...(usual.get(origin) ?? []), scheme])
  }
  const sent = new Map(
    choices.map(({ pointer, demand, origin, schemes }) => {
      // Where the document says nothing, what the origin's other operations send does no harm and is often meant.
      const all = demand.isStated ? schemes : (usual.get(origin) ?? [])
      const filled = all.filter(
        ({ identity }) => named.get(identity)?.origins.includes(origin) ?? false,
      )
      return [pointer, sentCredentials(filled, named)] as const
    }),
  )
  const list = [...named.values()]
  const slots = new Map(
    choices.flatMap(({ schemes }) =>
      schemes.map(({ identity, slot }) => [named.get(identity)?.name ?? '', slot] as const),
    ),
  )
  return {
    list,
    joined(some, others) {
      const taken = new Set(some.map((name) => slots.get(name)))
      return [...some, ...others.filter((name) => !taken.has(slots.get(name)))]
    },
    areAll: (names, origin) =>
      list.every(({ name, origins }) => !origins.includes(origin) || names.includes(name)),
    sentBy: (pointer) => sent.get(pointer) ?? sentCredentials([], named),
  }
}

function sentCredentials(schemes: readonly SecurityScheme[], named: Named): SentCredentials {
  const slots = new Set(schemes.map(({ slot }) => slot))
  const names = schemes.flatMap(({ identity }) => named.get(identity)?.name ?? [])
  return {
    names: [...new Set(names)],
    isFilled: (place, name) =>
      slots.has(`${place} ${place === 'header' ? name.toLowerCase() : name}`),
  }
}
