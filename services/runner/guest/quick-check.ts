/** A look at arguments that most pass: simple schemas are checked without the validator, all others are left to it. */

/** True: the value surely fits. False says nothing: the validator decides, and words what is wrong. */
export type QuickCheck = (value: unknown) => boolean

/** Keywords that check nothing. Whatever is not named here or below makes a schema no simple one. */
const annotations: ReadonlySet<string> = new Set([
  '$schema',
  '$comment',
  'title',
  'description',
  'default',
  'examples',
  'deprecated',
  'format',
  'readOnly',
  'writeOnly',
  'x-mcp-header',
])
const checked: Readonly<Record<string, readonly string[]>> = {
  string: ['type', 'enum'],
  number: ['type'],
  integer: ['type'],
  boolean: ['type'],
  array: ['type', 'items'],
  object: ['type', 'properties', 'required', 'additionalProperties'],
}
const MAX_DEPTH = 16

/** Undefined when the schema has a keyword that only the validator knows. */
export function quickCheck(schema: unknown, depth = 0): QuickCheck | undefined {
  if (!isRecord(schema) || depth > MAX_DEPTH || typeof schema.type !== 'string') return undefined
  const known = Object.hasOwn(checked, schema.type) ? checked[schema.type] : undefined
  const isSimple = Object.keys(schema).every((key) => known?.includes(key) || annotations.has(key))
  if (!isSimple) return undefined
  switch (schema.type) {
    case 'string':
      return stringCheck(schema.enum)
    case 'number':
      return (value) => typeof value === 'number'
    case 'integer':
      return Number.isSafeInteger
    case 'boolean':
      return (value) => typeof value === 'boolean'
    case 'array':
      return arrayCheck(schema.items, depth)
    default:
      return objectCheck(schema, depth)
  }
}

function stringCheck(values: unknown): QuickCheck | undefined {
  if (values === undefined) return (value) => typeof value === 'string'
  if (!Array.isArray(values)) return undefined
  const allowed = new Set<unknown>(values)
  return (value) => typeof value === 'string' && allowed.has(value)
}

function arrayCheck(items: unknown, depth: number): QuickCheck | undefined {
  if (items === undefined) return Array.isArray
  const item = quickCheck(items, depth + 1)
  return item && ((value) => Array.isArray(value) && value.every(item))
}

function objectCheck(schema: Record<string, unknown>, depth: number): QuickCheck | undefined {
  const { properties = {}, required = [], additionalProperties = true } = schema
  if (!isRecord(properties) || !Array.isArray(required)) return undefined
  if (typeof additionalProperties !== 'boolean') return undefined
  const checks = new Map<string, QuickCheck>()
  for (const [name, property] of Object.entries(properties)) {
    const check = quickCheck(property, depth + 1)
    if (check === undefined) return undefined
    checks.set(name, check)
  }
  return (value) => {
    if (!isRecord(value)) return false
    for (const name of required) if (!Object.hasOwn(value, name)) return false
    for (const name of Object.keys(value)) {
      const check = checks.get(name)
      if (check === undefined ? !additionalProperties : !check(value[name])) return false
    }
    return true
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
