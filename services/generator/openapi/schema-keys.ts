/** The keys of nested properties, given when all names of a tool are known, and the way back to their wire names. */
import type { RenameSpec } from '@bmm/spec/server-spec'
import { keysOf } from './input-key.ts'
import { isObject, type JsonObject } from './json.ts'

/** One step into the input: a wire name, or any list item or map entry. */
export type Step = string | typeof ANY
export const ANY: unique symbol = Symbol('any')
/** An object whose properties get their keys when all names of the tool are known. */
export type Named = {
  out: JsonObject
  at: readonly Step[]
  properties: [wire: string, schema: JsonObject][]
  required: string[]
}

type Renames = { renames: RenameSpec[]; renamesFull: boolean }

const MAX_RENAMES = 500

/** A name has one key in all of a tool, so keys are given once all names are known. */
export function nameKeys(objects: readonly Named[], report: Renames): void {
  const wires = objects.flatMap(({ properties, required }) => [
    ...properties.map(([wire]) => wire),
    ...required,
  ])
  const keys = keysOf(wires)
  const known = new Set<string>()
  // The first step is a key of the input already.
  const keyOf = (step: Step, index: number) =>
    step === ANY ? '*' : index === 0 ? step : (keys.get(step) ?? step)
  for (const { out, at, properties, required } of objects) {
    const path = at.map(keyOf)
    const kept = properties.filter(([wire]) => isKept(wire, [...path, keys.get(wire) ?? wire]))
    if (kept.length < properties.length && out.additionalProperties === false) {
      delete out.additionalProperties
    }
    const left = new Set(properties.filter((each) => !kept.includes(each)).map(([wire]) => wire))
    const entries = kept.map(([wire, schema]) => [keys.get(wire) ?? wire, schema] as const)
    if (entries.length > 0) out.properties = Object.fromEntries(entries)
    const asked = required.filter((wire) => !left.has(wire)).map((wire) => keys.get(wire) ?? wire)
    if (asked.length > 0) out.required = asked
  }

  const written = objects.map(({ at, out }) => ({ path: at.map(keyOf), out }))
  keepBesideMaps(written, report)

  function isKept(wire: string, at: string[]): boolean {
    if (at.at(-1) === wire) return true
    const name = at.join('\0')
    if (known.has(name)) return true
    if (report.renames.length >= MAX_RENAMES) {
      report.renamesFull = true
      return false
    }
    known.add(name)
    report.renames.push({ at, wire })
    return true
  }
}

/** The way back takes a name that it does not know for an entry of a map: names beside a map with renames are told. */
function keepBesideMaps(
  written: readonly { path: string[]; out: JsonObject }[],
  report: Renames,
): void {
  if (report.renames.length === 0) return
  const told = new Set(report.renames.map(({ at }) => at.join('\0')))
  const maps = new Set<string>()
  for (const { at } of report.renames) {
    for (const [index, step] of at.entries()) {
      if (step === '*') maps.add(at.slice(0, index).join('\0'))
    }
  }
  for (const { path, out } of written) {
    if (!maps.has(path.join('\0')) || !isObject(out.properties)) continue
    for (const key of Object.keys(out.properties)) {
      const at = [...path, key]
      if (told.has(at.join('\0')) || report.renames.length >= MAX_RENAMES) continue
      told.add(at.join('\0'))
      report.renames.push({ at, wire: key })
    }
  }
}
