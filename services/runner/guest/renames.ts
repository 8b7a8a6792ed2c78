/** Nested keys back to their wire names: the way back from the safe alphabet of a tool's input. */
import { isRawNumber } from '@bmm/lib/exact-json'
import type { RenameSpec } from '@bmm/spec/server-spec'

/** One step into the input: `*` stands for any list item or map entry. */
export type RenameNode = { wire?: string; below: Map<string, RenameNode> }

const MAX_NESTING = 64

export function renameTree(renames: readonly RenameSpec[]): RenameNode {
  const root: RenameNode = { below: new Map() }
  for (const { at, wire } of renames) {
    let node = root
    for (const step of at) {
      const next: RenameNode = node.below.get(step) ?? { below: new Map() }
      node.below.set(step, next)
      node = next
    }
    node.wire = wire
  }
  return root
}

/** The value with its wire names; the same value where nothing below it was renamed. */
export function withWireNames(value: unknown, node: RenameNode | undefined, depth = 0): unknown {
  if (node === undefined || node.below.size === 0 || depth > MAX_NESTING) return value
  if (Array.isArray(value)) {
    return value.map((item) => withWireNames(item, node.below.get('*'), depth + 1))
  }
  if (typeof value !== 'object' || value === null || isRawNumber(value)) return value
  // `fromEntries` defines properties: a wire name `__proto__` stays plain data.
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => {
      const next = node.below.get(key) ?? node.below.get('*')
      return [node.below.get(key)?.wire ?? key, withWireNames(part, next, depth + 1)]
    }),
  )
}
