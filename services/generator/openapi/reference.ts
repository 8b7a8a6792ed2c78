/** `$ref` inside one document: resolved lazily, never fetched. */
import type { OpenApiDocument } from './document.ts'
import { isObject, type JsonObject, objectAt, own, pointerSegments, textAt } from './json.ts'
import { line } from './prose.ts'
import { type Children, childIndex } from './schema-union.ts'

const MAX_REFERENCE_CHAIN = 30

/** A reference that cannot be followed; `external` ones make the operation impossible. */
export class ReferenceFault extends Error {
  override readonly name = 'ReferenceFault'
  constructor(
    message: string,
    readonly external: boolean,
  ) {
    super(message)
  }
}

export type References = {
  /** The value a `$ref` names. Throws ReferenceFault. */
  resolve(ref: string): unknown
  /** The object itself, or what its chain of `$ref`s ends at. Throws ReferenceFault. */
  follow(value: unknown): unknown
  /** Named schemas that have this one in their `allOf`, and theirs. */
  childrenOf(parent: JsonObject): Children
}

/** `documentUrl` and the document's own `$self` (OpenAPI 3.2) also name the document. */
export function referencesOf(document: OpenApiDocument, documentUrl?: string): References {
  const names = [textAt(document.root, '$self'), documentUrl].filter((name) => name !== undefined)
  const found = new Map<string, unknown>()
  let anchors: Map<string, unknown> | undefined
  let children: ReturnType<typeof childIndex> | undefined

  function resolve(ref: string): unknown {
    if (found.has(ref)) return found.get(ref)
    const hash = ref.indexOf('#')
    const before = hash === -1 ? ref : ref.slice(0, hash)
    const fragment = hash === -1 ? '' : ref.slice(hash + 1)
    const base = before === '' || names.includes(before) ? document.root : identified(before)
    if (base === undefined) {
      throw new ReferenceFault(
        `The reference "${line(withoutSecrets(ref), 200)}" leads out of the document. External references are not followed: bundle the document into one file first.`,
        true,
      )
    }
    const segments = pointerSegments(fragment)
    const value = segments === undefined ? identified(`#${fragment}`) : valueAt(base, segments)
    if (value === undefined) {
      throw new ReferenceFault(`The reference "${line(ref, 200)}" points to nothing.`, false)
    }
    found.set(ref, value)
    return value
  }

  /** Schemas that name themselves by `$id` or `$anchor` (JSON Schema 2020-12), in the components only. */
  function identified(name: string): unknown {
    anchors ??= anchorsOf(document.root)
    return anchors.get(name)
  }

  function follow(value: unknown): unknown {
    let current = value
    for (let step = 0; isObject(current) && typeof current.$ref === 'string'; step += 1) {
      if (step >= MAX_REFERENCE_CHAIN) {
        throw new ReferenceFault(
          `The reference "${line(current.$ref, 200)}" leads in a circle.`,
          false,
        )
      }
      current = resolve(current.$ref)
    }
    return current
  }

  function childrenOf(parent: JsonObject): Children {
    const isOld = document.version === '2.0'
    const named = isOld
      ? objectAt(document.root, 'definitions')
      : objectAt(objectAt(document.root, 'components'), 'schemas')
    children ??= childIndex(named, isOld ? '#/definitions/' : '#/components/schemas/', resolve)
    return children(parent)
  }

  return { resolve, follow, childrenOf }
}

function valueAt(root: unknown, segments: readonly string[]): unknown {
  let value = root
  for (const segment of segments) {
    if (Array.isArray(value)) value = /^\d{1,6}$/.test(segment) ? value[Number(segment)] : undefined
    else value = isObject(value) ? own(value, segment) : undefined
  }
  return value
}

function anchorsOf(root: JsonObject): Map<string, unknown> {
  const anchors = new Map<string, unknown>()
  const components = own(root, 'components')
  const schemas = isObject(components) ? own(components, 'schemas') : undefined
  for (const schema of isObject(schemas) ? Object.values(schemas) : []) {
    if (!isObject(schema)) continue
    const [id, anchor, dynamic] = ['$id', '$anchor', '$dynamicAnchor'].map((k) => textAt(schema, k))
    if (id !== undefined) anchors.set(id, schema)
    for (const name of [anchor, dynamic]) if (name !== undefined) anchors.set(`#${name}`, schema)
  }
  return anchors
}

/** Addresses are shown to find the place; their passwords and queries may be somebody's keys. */
function withoutSecrets(ref: string): string {
  return ref.replace(/\/\/[^/?#]*@/, '//').replace(/\?[^#]*/, '')
}
