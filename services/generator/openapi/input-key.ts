/** Keys of a tool's input: every wire name gets one in the safe alphabet, and the way back is kept. */
import { propertyKeyPattern } from '@bmm/spec/server-spec'
import { latin } from './own-name.ts'

const MAX_KEY = 64

/** Gives out keys that are unique within one object. */
export type KeyRing = {
  /** The key for a wire name: the name itself where it is safe and free, else with its place behind it, `id_query`. */
  keyFor(wire: string, place?: string): string
  has(key: string): boolean
}

/** Names among `wires` that are safe are kept for themselves: no renamed one gets them, whichever comes first. */
export function keyRing(wires: readonly string[] = []): KeyRing {
  const taken = new Set<string>()
  const reserved = new Set(wires.filter((wire) => safeKey(wire) === wire))
  const isTaken = (key: string) => taken.has(key) || reserved.has(key)
  return {
    keyFor(wire, place) {
      const isOwn = reserved.has(wire) && !taken.has(wire)
      const safe = safeKey(wire)
      const wanted = place !== undefined && isTaken(safe) ? safeKey(`${safe}_${place}`) : safe
      const key = isOwn ? wire : numbered(wanted, isTaken, MAX_KEY)
      taken.add(key)
      return key
    },
    has: isTaken,
  }
}

/**
 * One key for each wire name of a tool, wherever it stands: a name that is safe is its own key, and no other name gets
 * that key. Give all names at once; the order decides who is numbered.
 */
export function keysOf(wires: Iterable<string>): Map<string, string> {
  const keys = new Map<string, string>()
  const renamed = new Set<string>()
  for (const wire of wires) {
    if (safeKey(wire) === wire) keys.set(wire, wire)
    else renamed.add(wire)
  }
  const taken = new Set(keys.values())
  for (const wire of renamed) {
    const key = numbered(safeKey(wire), (candidate) => taken.has(candidate), MAX_KEY)
    taken.add(key)
    keys.set(wire, key)
  }
  return keys
}

/** `filter[name]` → `filter_name`, `$top` → `top`, `größe` → `grosse`; `__proto__` would name the prototype of plain objects. */
export function safeKey(wire: string): string {
  if (propertyKeyPattern.test(wire) && wire !== '__proto__') return wire
  const key = latin(wire)
    .replaceAll(/[^A-Za-z0-9_.-]+/g, '_')
    .replaceAll(/^_+|_+$/g, '')
    .slice(0, MAX_KEY)
  return key === '' ? 'key' : key
}

/** The first of `name`, `name_2`, `name_3`, … that is free, cut so that it keeps within `limit`. */
export function numbered(name: string, isTaken: (name: string) => boolean, limit: number): string {
  let candidate = name
  for (let count = 2; isTaken(candidate); count += 1) {
    const suffix = `_${count}`
    candidate = `${name.slice(0, limit - suffix.length)}${suffix}`
  }
  return candidate
}
