/** Examples that stand beside a schema: in a parameter, a media type or a body, where they override the schema's own. */
import { isObject, type JsonObject, own } from './json.ts'
import type { References } from './reference.ts'
import type { Part } from './schema-leaf.ts'

/** The first example of an object of the document; undefined where it has none. Throws ReferenceFault. */
export function exampleOf(object: JsonObject, references: References): unknown {
  const single = own(object, 'example') ?? own(object, 'x-example')
  if (single !== undefined) return single
  const several = own(object, 'examples')
  if (Array.isArray(several)) return several[0]
  if (!isObject(several)) return undefined
  for (const each of Object.values(several)) {
    const example = references.follow(each)
    if (!isObject(example)) continue
    // OpenAPI 3.2 tells the value from how it is written on the wire.
    const value =
      own(example, 'dataValue') ?? own(example, 'value') ?? own(example, 'serializedValue')
    if (value !== undefined) return value
  }
  return undefined
}

/** The schema with an example in front of its own. */
export function withExample(parts: readonly Part[], example: unknown): readonly Part[] {
  if (example === undefined) return parts
  return [{ source: { examples: [example] }, trail: undefined }, ...parts]
}

/** The same for one property of an object that an example shows. */
export function withExampleOf(
  parts: readonly Part[],
  name: string,
  shown: unknown,
): readonly Part[] {
  return isObject(shown) ? withExample(parts, own(shown, name)) : parts
}

/** What an object says of itself, in the words that stand beside a reference to it (OpenAPI 3.1 section 4.8.23). */
export function followedWithWords(value: unknown, references: References): unknown {
  const target = references.follow(value)
  if (!isObject(value) || !isObject(target) || target === value) return target
  const description = own(value, 'description') ?? own(value, 'summary')
  return typeof description === 'string' && description !== '' ? { ...target, description } : target
}
