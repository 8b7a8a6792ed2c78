/** Serialisers of parameters that others keep: swagger-client, openapi-fetch and url-template (RFC 6570), each asked for one parameter. */
import { createRequire } from 'node:module'
import { join } from 'node:path'

export type Place = 'path' | 'query' | 'header' | 'cookie'
export type Style =
  | 'simple'
  | 'label'
  | 'matrix'
  | 'form'
  | 'spaceDelimited'
  | 'pipeDelimited'
  | 'deepObject'
export type Value = string | number | boolean | unknown[] | Record<string, unknown>
/** One parameter in one place, as a document declares it, and the value it is given. */
export type ParameterSet = {
  place: Place
  style: Style
  explode: boolean
  name: string
  value: Value
}

export const ORIGIN = 'https://api.example.com'

/** The segment, query string, header value or Cookie header that it writes; undefined where it knows no such style. */
export type Serialiser = (set: ParameterSet) => string | undefined

/** What of the packages is used: they are not there when types are checked. */
type Options = { style: string; explode: boolean }
type SwaggerClient = {
  buildRequest(options: object): { url: string; headers: Record<string, string> }
}
type OpenApiFetch = {
  defaultPathSerializer(path: string, values: object): string
  createQuerySerializer(options: { array: Options; object: Options }): (values: object) => string
}
type UrlTemplate = { parseTemplate(template: string): { expand(values: object): string } }

const require = createRequire(join(import.meta.dir, 'package.json'))

async function packageNamed<T>(name: string): Promise<T> {
  return (await import(require.resolve(name))) as T
}

/** The packages of this folder must be installed. */
export async function keptSerialisers(): Promise<Record<string, Serialiser>> {
  const { default: client } = await packageNamed<{ default: SwaggerClient }>('swagger-client')
  const fetching = await packageNamed<OpenApiFetch>('openapi-fetch')
  const { parseTemplate } = await packageNamed<UrlTemplate>('url-template')
  return {
    'swagger-client': (set) => withSwaggerClient(client, set),
    'openapi-fetch': (set) => withOpenApiFetch(fetching, set),
    'url-template': (set) => withUrlTemplate(parseTemplate, set),
  }
}

function withSwaggerClient(client: SwaggerClient, set: ParameterSet): string {
  const { place, style, explode, name, value } = set
  const path = place === 'path' ? `/{${name}}` : '/'
  const parameter = { name, in: place, style, explode, required: place === 'path', schema: {} }
  const spec = {
    openapi: '3.0.3',
    info: { title: 'One parameter', version: '1' },
    servers: [{ url: ORIGIN }],
    paths: { [path]: { get: { operationId: 'one', parameters: [parameter], responses: {} } } },
  }
  const { url, headers } = client.buildRequest({
    spec,
    operationId: 'one',
    parameters: { [name]: value },
  })
  if (place === 'header') return headers[name] ?? ''
  return place === 'cookie' ? (headers.Cookie ?? '') : partOf(url, place)
}

function withOpenApiFetch(fetching: OpenApiFetch, set: ParameterSet): string | undefined {
  const { place, style, explode, name, value } = set
  if (place === 'header' || place === 'cookie') return undefined
  if (place === 'path') {
    const sign = { simple: '', label: '.', matrix: ';' }[String(style)] ?? ''
    return fetching.defaultPathSerializer(`{${sign}${name}${explode ? '*' : ''}}`, {
      [name]: value,
    })
  }
  const options = { style, explode }
  return fetching.createQuerySerializer({ array: options, object: options })({ [name]: value })
}

/** OAS 3.1 section 4.8.12.4 and appendix C name the expression of each style; others have none. */
function withUrlTemplate(
  parseTemplate: UrlTemplate['parseTemplate'],
  { place, style, explode, name, value }: ParameterSet,
): string | undefined {
  const sign = { simple: '', label: '.', matrix: ';', form: '?' }[String(style)]
  if (sign === undefined) return undefined
  const expanded = parseTemplate(`{${sign}${name}${explode ? '*' : ''}}`).expand({ [name]: value })
  if (style !== 'form') return expanded
  const pairs = expanded.replace(/^\?/, '')
  return place === 'cookie' ? pairs.replaceAll('&', '; ') : pairs
}

export function partOf(url: string, place: 'path' | 'query'): string {
  const rest = url.slice(ORIGIN.length + 1)
  const [path = '', query = ''] = rest.split('?')
  return place === 'path' ? path : query
}
