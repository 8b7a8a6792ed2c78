/** Names of imported tools: from operationId, else from method and path; unique and stable. */
import { createHash } from 'node:crypto'
import { toolNamePattern } from '@bmm/spec/server-spec'
import { numbered } from './input-key.ts'
import { latin } from './own-name.ts'

const MAX_NAME = 64
const HASH_LENGTH = 6

/** Names in the order of the operations: plain names go first, then the later ones of equal names are numbered. */
export function toolNames(
  operations: readonly { operationId: string | undefined; method: string; path: string }[],
): string[] {
  const wanted = operations.map(
    ({ operationId, method, path }) => nameFromId(operationId) ?? nameFromPath(method, path),
  )
  const taken = new Set<string>(wanted)
  const given = new Set<string>()
  return wanted.map((name) => {
    const isFirst = !given.has(name)
    const own = isFirst ? name : numbered(name, (n) => taken.has(n) || given.has(n), MAX_NAME)
    given.add(own)
    return own
  })
}

function nameFromId(operationId: string | undefined): string | undefined {
  if (operationId === undefined) return undefined
  if (toolNamePattern.test(operationId) && /[A-Za-z0-9]/.test(operationId)) return operationId
  const name = sanitised(operationId)
  return name === '' ? undefined : fitted(name, operationId)
}

/** `GET /users/{id}/posts` → `get_users_id_posts`. */
function nameFromPath(method: string, path: string): string {
  const name = [method.toLowerCase(), sanitised(path)].filter((part) => part !== '').join('_')
  return fitted(name, `${method} ${path}`)
}

function sanitised(text: string): string {
  return latin(text)
    .replaceAll(/[^A-Za-z0-9_-]+/g, '_')
    .replaceAll(/^[_-]+|[_-]+$/g, '')
}

/** A cut name ends in a hash of the whole, so that names which differ late stay different. */
function fitted(name: string, whole: string): string {
  if (name.length <= MAX_NAME) return name
  const hash = createHash('sha256').update(whole).digest('hex').slice(0, HASH_LENGTH)
  return `${name.slice(0, MAX_NAME - HASH_LENGTH - 1)}_${hash}`
}
