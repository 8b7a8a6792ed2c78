/** Invisible and control characters are taken out of prose, so that what people confirm is what they see. */
import type { ServerSpec } from '@bmm/spec/server-spec'
import { type TextShape, withoutControlCharacters } from './control-characters.ts'
import { withoutHiddenUnicode } from './hidden-unicode.ts'

/** Fields that describe; values that go over the wire (enums, defaults, keys) stay as they are. */
const describing = new Map<string, TextShape>([
  ['name', 'line'],
  ['title', 'line'],
  ['description', 'text'],
  ['instructions', 'text'],
  ['whereToGet', 'text'],
  ['$comment', 'text'],
])
const samples = new Set(['example', 'examples'])
/** Data that goes over the wire. */
const values = new Set(['enum', 'const', 'default'])
/** Keywords whose keys are the document's own: a property called `title` is no title. */
const maps = new Set(['properties', 'patternProperties', '$defs', 'dependentSchemas'])

type Place = 'schema' | 'map' | 'sample'

/** The spec with visible prose only, and how many texts were changed. Nothing of the argument is modified. */
export function cleanSpec(spec: ServerSpec): { spec: ServerSpec; changed: number } {
  let changed = 0
  const cleaned = clean(spec, 'schema')
  return { spec: changed === 0 ? spec : (cleaned as ServerSpec), changed }

  function clean(value: unknown, place: Place): unknown {
    if (typeof value === 'string')
      return place === 'sample' ? seen(value, withoutHiddenUnicode(value)) : value
    if (typeof value !== 'object' || value === null) return value
    if (Array.isArray(value)) return value.map((item) => clean(item, place))
    return Object.fromEntries(
      Object.entries(value).map(([key, child]) => [key, cleanField(key, child, place)]),
    )
  }

  function cleanField(key: string, child: unknown, place: Place): unknown {
    if (place === 'schema') {
      if (values.has(key)) return child
      const shape = describing.get(key)
      if (shape !== undefined && typeof child === 'string') {
        return seen(child, withoutControlCharacters(withoutHiddenUnicode(child), shape))
      }
      if (samples.has(key)) return clean(child, 'sample')
      if (maps.has(key)) return clean(child, 'map')
    }
    return clean(child, place === 'map' ? 'schema' : place)
  }

  function seen(text: string, cleaned: string): string {
    if (cleaned !== text) changed++
    return cleaned
  }
}
