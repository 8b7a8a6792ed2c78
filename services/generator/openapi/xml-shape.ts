/** What an XML body looks like, for a model that has to write it: a sample made after its schema (OpenAPI 3.1 section 4.8.26). */
import { type JsonObject, objectAt, textAt } from './json.ts'
import type { References } from './reference.ts'
import { leavesOf, type Part } from './schema-leaf.ts'
import { type Merged, merged } from './schema-merge.ts'

const MAX_DEPTH = 6
const MAX_CHILDREN = 40
/** The sample stops growing here; the text of the tool has its own limit. */
const MAX_CHARACTERS = 1_500
const xmlName = /^[\p{L}_][\p{L}\p{N}._:-]{0,100}$/u

type Looked = { schema: Merged; xml: JsonObject; ref: string | undefined; isRecursive: boolean }

/** Undefined where the schema says nothing about what is in it. */
export function xmlShape(parts: readonly Part[], references: References): string | undefined {
  let left = MAX_CHARACTERS

  function look(some: readonly Part[]): Looked {
    const leaves = leavesOf(some, references)
    const xml = Object.assign(
      {},
      ...leaves.leaves.map(({ schema }) => objectAt(schema, 'xml')).reverse(),
    )
    const ref = leaves.leaves.map(({ trail }) => trail?.ref).find((name) => name !== undefined)
    const isRecursive = leaves.recursive !== undefined
    return { schema: merged(leaves, references), xml, ref, isRecursive }
  }

  function element(name: string, seen: Looked, depth: number): string {
    const { schema, xml } = seen
    if (left <= 0) return ''
    if (schema.items.length > 0) return list(name, seen, depth)
    const tag = qualified(name, xml)
    const { attributes, content } = inside(seen, depth)
    const text = `<${tag}${namespaceOf(xml)}${attributes}>${content}</${tag}>`
    left -= tag.length * 2 + attributes.length + 5
    return text
  }

  /** Items repeat the name of the property, in an element around them only where the schema wraps them. */
  function list(name: string, { schema, xml }: Looked, depth: number): string {
    const item = look(schema.items)
    const own = textAt(xml, 'name') ?? name
    const isWrapped = xml.wrapped === true || textAt(xml, 'nodeType') === 'element'
    const one = element(textAt(item.xml, 'name') ?? (isWrapped ? name : own), item, depth + 1)
    if (!isWrapped) return one
    const tag = qualified(name, xml)
    return `<${tag}${namespaceOf(xml)}>${one}</${tag}>`
  }

  function inside({ schema, isRecursive }: Looked, depth: number) {
    const { properties } = schema.object
    if (depth >= MAX_DEPTH || isRecursive) return { attributes: '', content: '…' }
    if (properties.size === 0) return { attributes: '', content: sample(schema) }
    let [attributes, content] = ['', '']
    for (const [name, some] of [...properties].slice(0, MAX_CHILDREN)) {
      const child = look(some)
      const kind = textAt(child.xml, 'nodeType')
      if (child.xml.attribute === true || kind === 'attribute') {
        attributes += ` ${qualified(name, child.xml)}="${sample(child.schema)}"`
      } else if (kind === 'text' || kind === 'cdata') content += sample(child.schema)
      else content += element(name, child, depth + 1)
    }
    return { attributes, content }
  }

  const root = look(parts)
  if (root.schema.object.properties.size === 0 && root.schema.items.length === 0) return undefined
  return element(root.ref?.split('/').at(-1) ?? 'root', root, 0)
}

function qualified(name: string, xml: JsonObject): string {
  const local = textAt(xml, 'name') ?? name
  const prefix = textAt(xml, 'prefix')
  const whole = prefix === undefined || prefix === '' ? local : `${prefix}:${local}`
  return xmlName.test(whole) ? whole : 'element'
}

function namespaceOf(xml: JsonObject): string {
  const namespace = textAt(xml, 'namespace')
  if (namespace === undefined || namespace === '') return ''
  const prefix = textAt(xml, 'prefix')
  return ` xmlns${prefix === undefined || prefix === '' ? '' : `:${prefix}`}="${escaped(namespace)}"`
}

/** An example, else a value that is allowed, else the type. */
function sample({ plain, types }: Merged): string {
  const examples = Array.isArray(plain.examples) ? plain.examples : []
  const values = Array.isArray(plain.enum) ? plain.enum : []
  const value = [...examples, plain.default, plain.const, ...values].find(
    (each) => typeof each === 'string' || typeof each === 'number' || typeof each === 'boolean',
  )
  if (value !== undefined) return escaped(String(value))
  return typeof plain.format === 'string' ? escaped(plain.format) : (types?.[0] ?? 'text')
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}

export function isXml(contentType: string): boolean {
  return /[/+]xml(?:\s*;|$)/i.test(contentType)
}
