/** `$id` is the base of the references below it (JSON Schema 2020-12 Core, 8.2.1): they become references from the root. */
import { isObject, type JsonObject, pointerTo } from './json.ts'

/** A schema that names itself, and where it stands. */
type Resource = { uri: string; pointer: string; root: JsonObject; anchors: Map<string, string> }

const UNNAMED = 'bmm:/'

/**
 * Rewrites, in place, each `$ref` below an `$id` to a JSON pointer from the document's root, where that leads to something.
 * What a reference means in a document without `$id` stays as it is.
 */
export function resolveIds(root: JsonObject, documentUrl: string | undefined): void {
  const resources = new Map<string, Resource>()
  const references: { holder: JsonObject; keyword: string; within: Resource }[] = []
  const base = documentUrl !== undefined && URL.canParse(documentUrl) ? documentUrl : UNNAMED
  const whole: Resource = { uri: base, pointer: '', root, anchors: new Map() }
  const seen = new Set<object>()
  const open: { value: unknown; pointer: string; within: Resource }[] = [
    { value: root, pointer: '', within: whole },
  ]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { value, pointer } = next
    if (typeof value !== 'object' || value === null || seen.has(value)) continue
    seen.add(value)
    let { within } = next
    if (isObject(value)) {
      if (typeof value.$id === 'string' && pointer !== '' && URL.canParse(value.$id, within.uri)) {
        const uri = withoutFragment(new URL(value.$id, within.uri).href)
        within = { uri, pointer, root: value, anchors: new Map() }
        if (!resources.has(uri)) resources.set(uri, within)
      }
      for (const keyword of ['$anchor', '$dynamicAnchor']) {
        const name = value[keyword]
        if (typeof name === 'string') within.anchors.set(name, pointer)
      }
      for (const keyword of ['$ref', '$dynamicRef']) {
        if (typeof value[keyword] === 'string' && within !== whole) {
          references.push({ holder: value, keyword, within })
        }
      }
    }
    for (const [key, child] of Object.entries(value)) {
      open.push({ value: child, pointer: pointerTo(pointer, key), within })
    }
  }
  for (const { holder, keyword, within } of references) {
    const target = targetOf(String(holder[keyword]), within, resources)
    if (target !== undefined) holder[keyword] = `#${encodeURI(target)}`
  }
}

/** The pointer from the root; undefined where the base says nothing of it. */
function targetOf(
  reference: string,
  within: Resource,
  resources: ReadonlyMap<string, Resource>,
): string | undefined {
  if (!URL.canParse(reference, within.uri)) return undefined
  const url = new URL(reference, within.uri)
  const resource = reference.startsWith('#') ? within : resources.get(withoutFragment(url.href))
  if (resource === undefined) return undefined
  const fragment = decoded(url.hash.slice(1))
  if (fragment === '') return resource.pointer
  if (!fragment.startsWith('/')) return resource.anchors.get(fragment)
  return isThere(resource.root, fragment) ? `${resource.pointer}${fragment}` : undefined
}

function isThere(root: unknown, pointer: string): boolean {
  let value = root
  for (const part of pointer.slice(1).split('/')) {
    if (typeof value !== 'object' || value === null) return false
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    if (!Object.hasOwn(value, key)) return false
    value = Reflect.get(value, key)
  }
  return true
}

function withoutFragment(href: string): string {
  return href.replace(/#.*$/s, '')
}

function decoded(fragment: string): string {
  try {
    return decodeURIComponent(fragment)
  } catch {
    return fragment
  }
}
