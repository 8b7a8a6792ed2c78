/** Which operations of a document are wanted: `tag:T`, `/path/*`, `GET /path`. */
import { ImportError } from './import-error.ts'

export type FilteredOperation = { method: string; path: string; tags: readonly string[] }
export type OperationFilter = (operation: FilteredOperation) => boolean

const MAX_FILTERS = 100
const MAX_FILTER = 500
const MAX_STARS = 5

/** An operation is wanted when one of the filters matches, or when there are none. Throws ImportError `bad_option`. */
export function operationFilter(only: readonly string[]): OperationFilter {
  if (only.length === 0) return () => true
  if (only.length > MAX_FILTERS) throw bad(`More than ${MAX_FILTERS} filters were given.`)
  const filters = only.map(oneFilter)
  return (operation) => filters.some((matches) => matches(operation))
}

function oneFilter(text: string): OperationFilter {
  const filter = text.trim()
  if (filter.length > MAX_FILTER) throw bad(`A filter is longer than ${MAX_FILTER} characters.`)
  const tag = /^tag:(.+)$/is.exec(filter)?.[1]?.trim().toLowerCase()
  if (tag !== undefined) return ({ tags }) => tags.some((one) => one.toLowerCase() === tag)
  const match = /^(?:([A-Za-z]+|\*)\s+)?(\/\S*)$/.exec(filter)
  const path = match?.[2]
  if (path === undefined) {
    throw bad(
      'A filter is neither "tag:NAME" nor a path such as "/pets/*" nor a method and path such as "GET /pets".',
    )
  }
  const method = match?.[1]?.toUpperCase() ?? '*'
  const matches = pathMatcher(path)
  return (operation) => (method === '*' || operation.method === method) && matches(operation.path)
}

/** `*` stands for any characters, slashes too; a single `*` pass needs no backtracking beyond its few stars. */
function pathMatcher(glob: string): (path: string) => boolean {
  const parts = glob.split('*')
  if (parts.length - 1 > MAX_STARS) throw bad(`A filter has more than ${MAX_STARS} stars.`)
  const [first = '', ...rest] = parts
  const last = rest.pop()
  if (last === undefined) return (path) => path === glob
  // `/pets/*` is meant to include `/pets` itself.
  const bare = glob.endsWith('/*') ? glob.slice(0, -2) : undefined
  return (path) => {
    if (path === bare) return true
    if (!path.startsWith(first)) return false
    let at = first.length
    for (const part of rest) {
      const found = path.indexOf(part, at)
      if (found === -1) return false
      at = found + part.length
    }
    return path.length - at >= last.length && path.endsWith(last)
  }
}

function bad(message: string): ImportError {
  return new ImportError({ code: 'bad_option', message })
}
