/** Swagger 2.0 knows no ignored headers: an Accept or Content-Type parameter says which media type is sent. */
import { isObject, type JsonObject, listAt, own, textAt } from './json.ts'
import type { Notices } from './notices.ts'

export type Negotiated = { accept: string | undefined; contentType: string | undefined }

const MAX_TYPE = 200
const mediaType = /^[\w!#$&^.+*-]+\/[\w!#$&^.+*-]+(?:\s*;[\x20-\x7e]*)?$/

/** The one type that each of the two headers is sent with; of several the JSON one, and a warning names it. */
export function negotiated(
  headers: readonly JsonObject[],
  at: string,
  notices: Notices,
): Negotiated {
  const typeOf = (name: string): string | undefined => {
    const parameter = headers.find((each) => textAt(each, 'name')?.toLowerCase() === name)
    if (parameter === undefined) return undefined
    const types = valuesOf(parameter)
    const type = types.find((each) => /[/+]json/i.test(each)) ?? types[0]
    if (type === undefined) {
      notices.warn(at, `The header parameter ${name} has no value to choose: it was left out.`)
    } else if (types.length > 1) {
      notices.warn(at, `The header ${name} may have several values: ${type} is sent.`)
    }
    return type
  }
  return { accept: typeOf('accept'), contentType: typeOf('content-type') }
}

function valuesOf(parameter: JsonObject): string[] {
  const schema = own(parameter, 'schema')
  const places = isObject(schema) ? [parameter, schema] : [parameter]
  const values = places.flatMap((place) => [own(place, 'default'), ...listAt(place, 'enum')])
  const types = values.filter((value) => typeof value === 'string')
  return [...new Set(types.filter((type) => type.length <= MAX_TYPE && mediaType.test(type)))]
}
