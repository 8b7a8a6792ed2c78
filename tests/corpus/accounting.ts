/** What stands in a document, counted from its raw JSON without the importer's code, and what became of each piece in the draft. */
import type { ServerSpec, ToolSpec } from '@bmm/spec/server-spec'

type Tree = Record<string, unknown>
type Drafted = {
  spec: Pick<ServerSpec, 'tools' | 'credentials'>
  warnings: readonly { path: string; message: string }[]
  refusals: readonly { path: string; message: string }[]
}
/** `lost` names what is gone without a word; an honest draft has none. */
export type Tally = {
  declared: number
  taken: number
  refused: number
  /** Left out with a warning of its cause. */
  warned: number
  /** Sent by the broker as a credential, or ignored because OpenAPI 3 says so. */
  elsewhere: number
  lost: string[]
}
export type Account = { operations: Tally; parameters: Tally; bodies: Tally }

type Counted = { pointer: string; method: string; path: string; item: Tree; operation: Tree }
type Parameter = { place: string; name: string }

const methods = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace', 'query']
/** OpenAPI 3.1.0, 4.8.12: parameters of these names are ignored. */
const ignoredHeaders = ['accept', 'content-type', 'authorization']
/** The importer shows no more of a pointer. */
const SHOWN_POINTER = 500
const MAX_CHAIN = 30

/** Each operation, parameter and body of `root` is in the draft, refused, warned of, or lost. */
export function accountOf(root: unknown, draft: Drafted): Account {
  const account = { operations: emptyTally(), parameters: emptyTally(), bodies: emptyTally() }
  const refused = new Set(draft.refusals.map(({ path }) => path))
  const waiting = [...draft.spec.tools]
  for (const counted of operationsIn(root)) {
    const pieces = { parameters: parametersIn(root, counted), hasBody: hasBody(root, counted) }
    const sum = pieces.parameters.length
    account.operations.declared += 1
    account.parameters.declared += sum
    account.bodies.declared += pieces.hasBody ? 1 : 0
    if (refused.has(counted.pointer.slice(0, SHOWN_POINTER))) {
      account.operations.refused += 1
      account.parameters.refused += sum
      account.bodies.refused += pieces.hasBody ? 1 : 0
      continue
    }
    // Tools stand in the order of their operations, so the next one is this operation's or it has none.
    const tool = waiting[0]
    if (tool === undefined || !isOf(tool, counted)) {
      account.operations.lost.push(`${counted.method} ${counted.path}`)
      continue
    }
    waiting.shift()
    account.operations.taken += 1
    countParameters(account.parameters, pieces.parameters, { root, counted, tool, draft })
    if (!pieces.hasBody) continue
    if (tool.operation?.body !== undefined) account.bodies.taken += 1
    else account.bodies.lost.push(`the body of ${counted.method} ${counted.path}`)
  }
  account.operations.lost.push(...waiting.map(({ name }) => `the tool ${name} has no operation`))
  return account
}

function emptyTally(): Tally {
  return { declared: 0, taken: 0, refused: 0, warned: 0, elsewhere: 0, lost: [] }
}

type Place = { root: unknown; counted: Counted; tool: ToolSpec; draft: Drafted }

function countParameters(tally: Tally, declared: readonly Parameter[], place: Place): void {
  const { root, counted, tool, draft } = place
  const sent = (tool.operation?.parameters ?? []).map(({ in: at, name }) => keyOf(at, name))
  const names = new Set(sent)
  // The wire name of a path parameter never leaves: one beyond the safe alphabet has another in the URL's template.
  let paths = sent.filter((key) => key.startsWith('path ')).length
  for (const parameter of declared) {
    const key = keyOf(parameter.place, parameter.name)
    const isInPath = parameter.place === 'path' && stands(root, counted, parameter.name)
    if (isInPath && paths > 0) {
      paths -= 1
      tally.taken += 1
    } else if (names.has(key)) tally.taken += 1
    else if (isElsewhere(root, parameter, draft)) tally.elsewhere += 1
    else if (isWarned(parameter, draft)) tally.warned += 1
    else tally.lost.push(`${key} of ${counted.method} ${counted.path}`)
  }
}

function isElsewhere(root: unknown, { place, name }: Parameter, { spec }: Drafted): boolean {
  const lower = name.toLowerCase()
  const isVersion3 = typeof at(root, 'openapi') === 'string'
  if (place === 'header' && isVersion3 && ignoredHeaders.includes(lower)) return true
  return spec.credentials.some(({ scheme, parameter }) =>
    parameter === undefined
      ? place === 'header' && lower === 'authorization'
      : scheme === place && parameter.toLowerCase() === lower,
  )
}

/** Warnings are grouped by their sentence, so it is the sentence that must fit the cause. */
function isWarned({ place, name }: Parameter, { warnings }: Drafted): boolean {
  return warnings.some(({ message }) => {
    if (!/left out|is sent/i.test(message)) return false
    if (message.split(/[\s,;:"'`()]+|\.(?:\s|$)/).some((word) => sameName(word, name))) return true
    if (place === 'path') return message.includes(`path parameter ${name} was`)
    if (message.includes(`${place} parameter whose name`))
      return !/^[\w!#$%&'*+.^`|~-]+$/.test(name)
    return message.includes('unknown place') && !/^(?:query|header|path|cookie)$/.test(place)
  })
}

function sameName(word: string, name: string): boolean {
  return word.toLowerCase() === name.toLowerCase()
}

/** Of JSON already parsed: what stands under `paths` and `x-ms-paths`, in the order of the document. */
function operationsIn(root: unknown): Counted[] {
  return ['paths', 'x-ms-paths'].flatMap((under) =>
    entries(at(root, under))
      .filter(([path]) => !path.startsWith('x-'))
      .flatMap(([path, value]) =>
        operationsOfItem(root, path, `/${under}/${escaped(path)}`, value),
      ),
  )
}

function operationsOfItem(root: unknown, path: string, pointer: string, value: unknown): Counted[] {
  const item = followed(root, value)
  if (!isTree(item)) return [{ pointer, method: 'ANY', path, item: {}, operation: {} }]
  return (item === value ? [item] : [item, value]).flatMap((each) =>
    isTree(each)
      ? methods.flatMap((method) => {
          if (!Object.hasOwn(each, method)) return []
          const operation = followed(root, each[method])
          return [
            {
              ...{ pointer: `${pointer}/${method}`, method: method.toUpperCase(), path },
              ...{ item: each, operation: isTree(operation) ? operation : {} },
            },
          ]
        })
      : [],
  )
}

/** Without those of a body; the operation's own stands for the path's of the same name. */
function parametersIn(root: unknown, { item, operation }: Counted): Parameter[] {
  const found = new Map<string, Parameter>()
  for (const holder of [item, operation]) {
    const list = followed(root, at(holder, 'parameters'))
    for (const value of Array.isArray(list) ? list : []) {
      const parameter = followed(root, value)
      const [place, name] = [at(parameter, 'in'), at(parameter, 'name')]
      if (typeof place !== 'string' || typeof name !== 'string' || name === '') continue
      if (!isOfBody(place)) found.set(keyOf(place, name), { place, name })
    }
  }
  return [...found.values()]
}

function hasBody(root: unknown, { item, operation }: Counted): boolean {
  const body = followed(root, at(operation, 'requestBody'))
  if (entries(followed(root, at(body, 'content'))).length > 0) return true
  return [item, operation].some((holder) => {
    const list = followed(root, at(holder, 'parameters'))
    return (
      Array.isArray(list) && list.some((each) => isOfBody(String(at(followed(root, each), 'in'))))
    )
  })
}

function isOfBody(place: string): boolean {
  return place === 'body' || place === 'formData'
}

function isOf({ operation }: ToolSpec, { method, path }: Counted): boolean {
  if (operation?.method !== method) return false
  const literal = (text: string) => text.replaceAll(/\{[^{}]*\}|:\w+|[^a-z/]/gi, '')
  const last = path.split(/[?#{]/)[0]?.split('/').at(-1) ?? ''
  return literal(decoded(operation.url)).includes(literal(last))
}

/** Whether the parameter's name is one that the path, or the address of a server, asks for. */
function stands(root: unknown, { path, item, operation }: Counted, name: string): boolean {
  const addresses = [root, item, operation].flatMap((holder) => {
    const servers = at(holder, 'servers')
    return Array.isArray(servers) ? servers.map((server) => String(at(server, 'url'))) : []
  })
  return [path, ...addresses].some((text) => text.includes(name))
}

/** Names of headers have no case (RFC 9110 section 5.1). */
function keyOf(place: string, name: string): string {
  return `${place} ${place === 'header' ? name.toLowerCase() : name}`
}

function followed(root: unknown, value: unknown): unknown {
  let current = value
  for (let step = 0; step < MAX_CHAIN; step += 1) {
    const reference = at(current, '$ref')
    if (typeof reference !== 'string') return current
    if (!reference.startsWith('#')) return undefined
    current = reference
      .slice(1)
      .split('/')
      .slice(1)
      .map((part) => decoded(part).replaceAll('~1', '/').replaceAll('~0', '~'))
      .reduce<unknown>(
        (tree, part) => (Array.isArray(tree) ? tree[Number(part)] : at(tree, part)),
        root,
      )
  }
  return undefined
}

function escaped(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1')
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function entries(value: unknown): [string, unknown][] {
  return isTree(value) ? Object.entries(value) : []
}

function at(value: unknown, key: string): unknown {
  return isTree(value) && Object.hasOwn(value, key) ? value[key] : undefined
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
