/** Where an operation is: servers, their variables, base URL, and the URL template of the operation. */

import type { OpenApiDocument } from './document.ts'
import { keysOf } from './input-key.ts'
import { isObject, type JsonObject, listAt, objectAt, own, textAt } from './json.ts'
import type { Notices } from './notices.ts'
import { Refused } from './refused.ts'

export type ServerOptions = { baseUrl?: string | undefined; documentUrl?: string | undefined }

const MAX_URL_TEMPLATE = 2_000
const giveBaseUrl = 'Give its address as the base URL (--base-url; baseUrl in the API).'
const relativeSentence = `The document does not say on which host the API is. ${giveBaseUrl}`

/** Where operations lie. `url` is absolute, without a trailing slash. */
export type ApiServer = { url: string; origin: string }

export type ApiServers = {
  /** Throws Refused when the document does not say, or not by http or https. */
  serverOf(pathItem: JsonObject, operation: JsonObject): ApiServer
}

export function apiServers(
  document: OpenApiDocument,
  options: ServerOptions,
  notices: Notices,
): ApiServers {
  // A thousand operations share one server: its URL is worked out once.
  let shared: { server: ApiServer } | { fault: unknown } | undefined

  function documentServer(): ApiServer {
    if (shared === undefined) {
      try {
        shared = { server: apiServer(documentUrlOf(document.root, options, notices)) }
      } catch (fault) {
        shared = { fault }
      }
    }
    if ('fault' in shared) throw shared.fault
    return shared.server
  }

  function serverOf(pathItem: JsonObject, operation: JsonObject): ApiServer {
    if (document.version === '2.0') return apiServer(swaggerUrl(document.root, operation, options))
    for (const [holder, path] of [
      [operation, 'operation'],
      [pathItem, 'path'],
    ] as const) {
      const servers = listAt(holder, 'servers')
      if (servers.length === 0) continue
      notices.warn('/servers', `Some servers belong to one ${path} only; they stay as they are.`)
      return apiServer(firstUsable(servers, options.baseUrl ?? options.documentUrl, notices))
    }
    return documentServer()
  }

  return { serverOf }
}

function apiServer(url: string): ApiServer {
  return { url, origin: new URL(url).origin }
}

function documentUrlOf(root: JsonObject, options: ServerOptions, notices: Notices): string {
  const servers = listAt(root, 'servers')
  const { baseUrl, documentUrl } = options
  if (baseUrl === undefined) {
    return firstUsable(servers.length === 0 ? [{ url: '/' }] : servers, documentUrl, notices)
  }
  const relative = servers.map(serverText).find((url) => url !== undefined && isRelative(url))
  // A given base URL stands in for absolute servers, and completes relative ones.
  if (relative === undefined || relative === '/' || relative === '')
    return cleaned(baseUrl, notices)
  return cleaned(new URL(relative, baseUrl).href, notices)
}

/** The first https server once variables have their defaults, else the first http one: servers are alternatives, and no credential leaves by http. */
function firstUsable(
  servers: readonly unknown[],
  base: string | undefined,
  notices: Notices,
): string {
  let fault = relativeSentence
  let plain: string | undefined
  for (const server of servers) {
    const url = serverText(server)
    if (url === undefined) {
      fault = `The server of the API has a variable without a default. ${giveBaseUrl}`
      continue
    }
    const absolute = absoluteUrl(url, base)
    if (absolute === undefined) continue
    if (absolute.startsWith('https:')) return cleaned(absolute, notices)
    if (absolute.startsWith('http:')) plain ??= absolute
    else fault = 'The server is not reached by http or https.'
  }
  if (plain === undefined) throw new Refused(fault)
  return cleaned(plain, notices)
}

/** The server's URL with the defaults of its variables; undefined when one has none. */
function serverText(server: unknown): string | undefined {
  if (!isObject(server)) return undefined
  const variables = objectAt(server, 'variables')
  let isComplete = true
  const url = (textAt(server, 'url') ?? '/').trim().replaceAll(/\{([^{}]*)\}/g, (_match, name) => {
    const variable = objectAt(variables, String(name))
    const values = listAt(variable, 'enum')
    const named = own(variable, 'default') ?? values[0]
    const value = named === 'http' && values.includes('https') ? 'https' : named
    if (typeof value === 'string' || typeof value === 'number') return String(value)
    isComplete = false
    return ''
  })
  return isComplete ? url : undefined
}

function isRelative(url: string): boolean {
  return absoluteUrl(url, undefined) === undefined
}

function absoluteUrl(url: string, base: string | undefined): string | undefined {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(url)) return URL.canParse(url) ? new URL(url).href : undefined
  // `api.example.com/v1` is a relative path by the letter, and a host by what people mean.
  if (
    /^[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::\d+)?(?:\/|$)/i.test(url) &&
    URL.canParse(`https://${url}`)
  ) {
    return new URL(`https://${url}`).href
  }
  if (url.startsWith('//') && URL.canParse(`https:${url}`)) {
    return new URL(`${base === undefined ? 'https:' : new URL(base).protocol}${url}`).href
  }
  return base !== undefined && URL.canParse(url, base) ? new URL(url, base).href : undefined
}

function cleaned(href: string, notices: Notices): string {
  const url = new URL(href)
  if (url.hostname === '') throw new Refused(relativeSentence)
  if (url.username !== '' || url.password !== '') {
    notices.warn('/servers', 'The server URL held a user name or password, which was left out.')
  }
  if (url.search !== '') {
    notices.warn(
      '/servers',
      'The server URL has a query, which was left out: an OpenAPI server URL must not have one. Where the API needs it, add it to the operations as a query parameter.',
    )
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '')
}

function swaggerUrl(root: JsonObject, operation: JsonObject, options: ServerOptions): string {
  const basePath = (textAt(root, 'basePath') ?? '').replace(/\/+$/, '')
  const path = basePath === '' || basePath.startsWith('/') ? basePath : `/${basePath}`
  if (options.baseUrl !== undefined) {
    const base = new URL(options.baseUrl)
    const ownPath = base.pathname.replace(/\/+$/, '')
    return `${base.origin}${ownPath === '' ? path : ownPath}`
  }
  const known = options.documentUrl === undefined ? undefined : new URL(options.documentUrl)
  const host = textAt(root, 'host') ?? known?.host
  if (host === undefined || host === '') throw new Refused(relativeSentence)
  const named = [listAt(operation, 'schemes'), listAt(root, 'schemes')].find((l) => l.length > 0)
  const schemes = named ?? [known?.protocol.replace(':', '') ?? 'https']
  const scheme = ['https', 'http'].find((one) => schemes.includes(one))
  if (scheme === undefined) throw new Refused('The server is not reached by http or https.')
  const bare = host.replace(/^[a-z]+:\/\//i, '')
  const url = `${scheme}://${bare}${path}`
  if (!URL.canParse(url)) throw new Refused('The host of the document is not a host name.')
  return `${new URL(url).origin}${new URL(url).pathname}`.replace(/\/+$/, '')
}

/** How far a path parameter's value reaches: `encoded` ones hold slashes that travel as `%2F`, within one segment. */
export type PathReach = 'segment' | 'encoded' | 'segments'
/** Declared path parameters. */
export type KnownParameters = ReadonlyMap<string, PathReach>

export type UrlTemplate = {
  /** Absolute, with `{name}` or `{+name}` for path parameters. */
  url: string
  origin: string
  /**
   * Path part of `url` for the list of allowed operations, its placeholders named in the safe alphabet. Servers disagree
   * whether `%2F` parts segments, so there an `encoded` value is one that may span them: `{+name}`.
   */
  path: string
  /** The names in braces, by wire name; true where the value may span several segments. */
  names: Map<string, boolean>
  /** What stands for a wire name in `url`: the name itself where it is in the safe alphabet. */
  placeholders: ReadonlyMap<string, string>
}

/** Joins server and path; `known` are the declared path parameters. Throws Refused. */
export function urlTemplate(server: ApiServer, path: string, known: KnownParameters): UrlTemplate {
  const names = new Map<string, boolean>()
  const whole = path.startsWith('/') || path === '' ? path : `/${path}`
  const braced = whole
    .replaceAll(/\{[?&][^{}]*\}/g, '')
    .replaceAll(/\/:([A-Za-z_]\w*)/g, (match, name) => (known.has(name) ? `/{${name}}` : match))
  const parts = withoutFragment(braced).split(/(\{[^{}]+\})/)
  const read = parts.map((part, index) =>
    index % 2 === 0 ? part : placeholder(part.slice(1, -1), known),
  )
  for (const part of read) if (typeof part !== 'string') names.set(part.name, part.spans)
  const placeholders = keysOf(names.keys())
  const text = read.map((part) =>
    typeof part === 'string'
      ? literal(part)
      : `{${part.spans ? '+' : ''}${placeholders.get(part.name) ?? part.name}}`,
  )
  const url = `${server.url}${text.join('')}`
  if (url.length > MAX_URL_TEMPLATE) {
    throw new Refused(`The address is longer than ${MAX_URL_TEMPLATE} characters.`)
  }
  const { origin } = server
  const encoded = new Set(
    [...names.keys()]
      .filter((name) => known.get(name) === 'encoded')
      .map((n) => placeholders.get(n)),
  )
  const shown = url.replaceAll(
    /\{(\+?)([^{}]+)\}/g,
    (_match, plus, name) => `{${encoded.has(name) ? '+' : plus}${name}}`,
  )
  const rest = shown.slice(origin.length).split('?', 1)[0] ?? ''
  return { url, origin, path: rest.startsWith('/') ? rest : `/${rest}`, names, placeholders }
}

/** `/#Action=X` tells operations of one URL apart in documents only: a fragment is never sent. */
function withoutFragment(path: string): string {
  const hash = path.replaceAll(/\{[^{}]*\}/g, (match) => '_'.repeat(match.length)).indexOf('#')
  return hash === -1 ? path : path.slice(0, hash)
}

/** `{+x}`, `{x+}` and `{x*}` are ways to say that a value spans segments. */
function placeholder(text: string, known: KnownParameters): { name: string; spans: boolean } {
  const declared = known.get(text)
  if (declared !== undefined) return { name: text, spans: declared === 'segments' }
  const match = /^\+(.+)$|^(.+)[+*]$/.exec(text)
  const name = match?.[1] ?? match?.[2]
  return name === undefined ? { name: text, spans: false } : { name, spans: true }
}

/** Percent-encodes what may not stand in a URL as it is; what is encoded already stays. */
function literal(text: string): string {
  return encodeURI(text.toWellFormed())
    .replaceAll(/%25([0-9A-Fa-f]{2})/g, '%$1')
    .replaceAll('%5B', '[')
    .replaceAll('%5D', ']')
}

/** The `key=…{x}…` pairs of a template's query whose key is a declared query parameter are sent as that parameter. */
export function withoutDeclaredQuery(path: string, declared: ReadonlySet<string>): string {
  const start = path.indexOf('?')
  if (start === -1) return path
  const pairs = path
    .slice(start + 1)
    .split('&')
    .filter((pair) => pair !== '' && !declared.has(pair.split('=', 1)[0] ?? ''))
  return pairs.length === 0 ? path.slice(0, start) : `${path.slice(0, start)}?${pairs.join('&')}`
}
