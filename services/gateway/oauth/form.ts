/** Forms and queries as pairs in their order, so that who decides can refuse a repeated name. */
import { readBody } from '../arrival/body.ts'
import { problem } from '../problem.ts'

export type Pair = { name: string; value: string }

const MAX_FORM_BYTES = 64 * 1024
const MAX_PAIRS = 50
const MAX_NAME = 256
const MAX_VALUE = 16_384
const formMediaType = 'application/x-www-form-urlencoded'

/** The pairs of a form body. Throws BodyFault, or a problem for a form that is too long. */
export async function readForm(request: Request): Promise<Pair[]> {
  const bytes = await readBody(request, { mediaType: formMediaType, limitBytes: MAX_FORM_BYTES })
  return pairsFrom(new TextDecoder().decode(bytes))
}

/** The pairs of the request's query. */
export function queryPairs(request: Request): Pair[] {
  return pairsFrom(new URL(request.url).search.slice(1))
}

/** The only value of a name; undefined when it is absent or repeated. */
export function onlyValue(pairs: readonly Pair[], name: string): string | undefined {
  const found = pairs.filter((pair) => pair.name === name)
  return found.length === 1 ? found[0]?.value : undefined
}

function pairsFrom(encoded: string): Pair[] {
  const pairs = [...new URLSearchParams(encoded)].map(([name, value]) => ({ name, value }))
  const fits = pairs.every(
    ({ name, value }) => name.length <= MAX_NAME && value.length <= MAX_VALUE,
  )
  if (pairs.length > MAX_PAIRS || !fits) {
    throw problem(400, 'invalid_request', 'The request has too many or too long parameters.')
  }
  return pairs
}
