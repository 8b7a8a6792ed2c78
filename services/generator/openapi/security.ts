/** Security of a document becomes credentials: names, how each is sent, and to which origins. */
import type { CredentialSpec } from '@bmm/spec/server-spec'
import type { OpenApiDocument } from './document.ts'
import { numbered } from './input-key.ts'
import { isObject, type JsonObject, objectAt, own, textAt } from './json.ts'
import { line, prose } from './prose.ts'
import { ReferenceFault, type References } from './reference.ts'
import { Refused } from './refused.ts'
import { signingScheme } from './signature.ts'

/** How a scheme's value travels. Schemes with an equal `slot` would overwrite each other on one origin. */
export type SecurityScheme = {
  name: string
  placement: Pick<CredentialSpec, 'scheme' | 'parameter'>
  slot: string
  /** Schemes with an equal one have the same value; those of OAuth and OpenID Connect share one token. */
  identity: string
  description: string
}

/** What an operation asks for: the alternatives that can be met, in the document's order. */
export type Demand = {
  alternatives: SecurityScheme[][]
  /** Works without any as well. */
  optional: boolean
  /** False where neither the operation nor the document says anything about security. */
  isStated: boolean
  /** What requests must be signed with, where no alternative does without. */
  signing?: string | undefined
}

/** A scheme of the document; what signs requests has no value that could be sent. */
type Scheme = SecurityScheme | { signs: string } | { unsupported: string } | { undefined: string }

export type SecuritySchemes = {
  /** Throws Refused when no alternative is wholly supported. */
  demandOf(operation: JsonObject): Demand
}

const MAX_CREDENTIAL_NAME = 64
const headerName = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/

export function securitySchemes(
  document: OpenApiDocument,
  references: References,
): SecuritySchemes {
  const { root } = document
  const definitions =
    document.version === '2.0'
      ? objectAt(root, 'securityDefinitions')
      : objectAt(objectAt(root, 'components'), 'securitySchemes')
  const schemes = new Map<string, Scheme>()
  for (const [name, value] of Object.entries(definitions)) {
    schemes.set(name, schemeFrom(name, followed(value, references)))
  }

  function demandOf(operation: JsonObject): Demand {
    const security = own(operation, 'security') ?? own(root, 'security')
    if (!Array.isArray(security) || security.length === 0) {
      return { alternatives: [], optional: true, isStated: Array.isArray(security) }
    }
    const found = security.map((alternative) =>
      Object.keys(isObject(alternative) ? alternative : {}).map(
        (name): Scheme => schemes.get(name) ?? { undefined: name },
      ),
    )
    const optional = found.some((each) => each.length === 0)
    const supported = found.filter((each) => each.every(isSupported))
    const signed = found.filter((each) => each.every((one) => isSupported(one) || 'signs' in one))
    if (supported.length === 0) {
      const [signing] = signed.flat().flatMap((one) => ('signs' in one ? [one.signs] : []))
      if (signing === undefined) throw refusalOf(found.flat(), [...schemes.keys()])
      return { ...demandFrom(signed, optional), signing }
    }
    return demandFrom(supported, optional)
  }

  return { demandOf }
}

function isSupported(scheme: Scheme): scheme is SecurityScheme {
  return 'placement' in scheme
}

/** The empty alternative, which stands for no credential, is told by `optional`. */
function demandFrom(found: readonly Scheme[][], optional: boolean): Demand {
  const alternatives = found.map((each) => each.filter(isSupported))
  return { alternatives: alternatives.filter(({ length }) => length > 0), optional, isStated: true }
}

function refusalOf(found: readonly Scheme[], defined: readonly string[]): Refused {
  const sentences = found.flatMap((one) =>
    'undefined' in one ? [undefinedSentence(one.undefined, defined)] : [],
  )
  const unsupported = found.flatMap((one) => ('unsupported' in one ? [one.unsupported] : []))
  if (unsupported.length > 0) {
    const kinds = [...new Set(unsupported)].join(' or ')
    sentences.push(`The operation asks for ${kinds}, which is not supported.`)
  }
  return new Refused([...new Set(sentences)].join(' '))
}

/** The names that a document defines, for a sentence about one that it does not. */
function undefinedSentence(name: string, defined: readonly string[]): string {
  const plain = (text: string) => text.toLowerCase().replaceAll(/[^a-z0-9]/g, '')
  const near = defined.find((other) => plain(other) === plain(name) && plain(name) !== '')
  const shown = defined.slice(0, 5).map((other) => `"${line(other, 60)}"`)
  const what =
    near !== undefined
      ? `"${line(near, 60)}" is: give both the same spelling.`
      : shown.length === 0
        ? 'The document defines none.'
        : `The document defines ${shown.join(', ')}${defined.length > shown.length ? ' and others' : ''}.`
  return `The operation asks for the security scheme "${line(name, 60)}", which is not defined. ${what}`
}

/** A scheme that cannot be resolved matters only to the operations that name it. */
function followed(value: unknown, references: References): unknown {
  try {
    return references.follow(value)
  } catch (error) {
    if (error instanceof ReferenceFault) return undefined
    throw error
  }
}

/** The document asks for the Authorization header as an ordinary parameter and names no scheme. */
export const authorizationScheme: SecurityScheme = {
  name: 'authorization',
  placement: { scheme: 'header', parameter: 'Authorization' },
  slot: 'header authorization',
  identity: 'header Authorization',
  description: 'The whole value of the Authorization header, such as "Bearer …".',
}

function schemeFrom(name: string, value: unknown): Scheme {
  if (!isObject(value)) return { unsupported: 'a scheme that is not defined' }
  const signs = signingScheme(name, value)
  if (signs !== undefined) return { signs }
  const scheme = sentScheme(name, value)
  return typeof scheme === 'string' ? { unsupported: scheme } : scheme
}

/** The scheme, or what it is when it is not supported. */
function sentScheme(name: string, value: JsonObject): SecurityScheme | string {
  const type = textAt(value, 'type')?.toLowerCase()
  const said = prose(textAt(value, 'description') ?? '', 1_000)
  const isToken = type === 'oauth2' || type === 'openidconnect'
  const scheme = (placement: SecurityScheme['placement'], how: string): SecurityScheme => ({
    name,
    placement,
    slot: slotOf(placement),
    identity: isToken ? 'oauth token' : `scheme ${name}`,
    description: said === '' ? how : `${how}\n${said}`,
  })
  const bearer = (how: string) => scheme({ scheme: 'bearer' }, how)
  const basic = 'User name and password as "name:password", sent by HTTP basic authentication.'
  if (type === 'basic') return scheme({ scheme: 'basic' }, basic)
  if (type === 'oauth2') return bearer('OAuth 2.0 access token, sent as a bearer token.')
  if (type === 'openidconnect')
    return bearer('OpenID Connect access token, sent as a bearer token.')
  if (type === 'apikey') return apiKey(value, scheme)
  if (type === 'mutualtls') return 'a TLS client certificate'
  if (type !== 'http') return 'a security scheme of an unknown type'
  const how = textAt(value, 'scheme')?.toLowerCase()
  if (how === 'basic') return scheme({ scheme: 'basic' }, basic)
  if (how === 'bearer') return bearer('Bearer token, sent in the Authorization header.')
  return `HTTP authentication by "${prose(how ?? '', 30)}"`
}

function apiKey(
  value: JsonObject,
  scheme: (placement: SecurityScheme['placement'], how: string) => SecurityScheme,
): SecurityScheme | string {
  const place = textAt(value, 'in')
  const parameter = textAt(value, 'name') ?? ''
  if (place !== 'header' && place !== 'query' && place !== 'cookie') {
    return 'an API key in an unknown place'
  }
  if (place === 'query' ? !/^[^\s\0]{1,128}$/.test(parameter) : !headerName.test(parameter)) {
    return `an API key whose ${place} name is not valid`
  }
  if (place === 'header' && parameter.toLowerCase() === 'authorization') {
    return scheme({ scheme: 'header', parameter }, authorizationScheme.description)
  }
  const kind = place === 'query' ? 'query parameter' : place
  return scheme({ scheme: place, parameter }, `API key, sent as the ${kind} "${parameter}".`)
}

function slotOf({ scheme, parameter }: SecurityScheme['placement']): string {
  if (scheme === 'bearer' || scheme === 'basic') return 'header authorization'
  return `${scheme} ${scheme === 'header' ? parameter?.toLowerCase() : parameter}`
}

/** `petstoreAuth` → `PETSTORE_AUTH`; a name that starts with a digit gets `KEY_` in front. */
export function credentialName(scheme: string, isTaken: (name: string) => boolean): string {
  const snake = scheme
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replaceAll(/[^A-Za-z0-9]+/g, '_')
    .replaceAll(/^_+|_+$/g, '')
    .toUpperCase()
  const name = snake === '' ? 'API_KEY' : /^[A-Z]/.test(snake) ? snake : `KEY_${snake}`
  return numbered(name.slice(0, MAX_CREDENTIAL_NAME), isTaken, MAX_CREDENTIAL_NAME)
}
