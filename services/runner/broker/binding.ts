/** Credentials and requests: which belong to an origin, what the code's own are, and how a value is put in. */
import { schemeFrom } from '@bmm/lib/credential-scheme'
import { Scheme } from '@bmm/proto/secrets/v1/secret'
import type { OpenedSecret } from '@bmm/proto/secrets/v1/secrets_service'
import type { ServeStatement } from '@bmm/spec/statement'
import { takeCookies, withoutNames } from './cookie-header.ts'

export type Credential = ServeStatement['credentials'][number]
export type Header = readonly [name: string, value: string]
export type Outgoing = { url: URL; headers: readonly Header[] }

/** Why a request with a credential cannot be made; the sentence never holds a value. */
export class BindingError extends Error {
  override readonly name = 'BindingError'

  constructor(
    readonly code:
      | 'credential_missing'
      | 'credential_destination'
      | 'credential_unusable'
      | 'credential_needs_https',
    message: string,
  ) {
    super(message)
  }
}

/** The credentials of the contract that go to this origin. */
export function credentialsFor(
  credentials: readonly Credential[],
  origin: string,
): readonly Credential[] {
  return credentials.filter((credential) => credential.origins.includes(origin))
}

/** Takes out whatever the code itself put where a credential belongs: headers, cookies and query parameters of its name. */
export function withoutOwnCredentials(
  { url, headers }: Outgoing,
  credentials: readonly Credential[],
): Outgoing {
  const namesIn = (scheme: Credential['scheme']) =>
    credentials.flatMap(({ scheme: its, parameter }) =>
      its === scheme && parameter !== undefined ? [canonical(parameter)] : [],
    )
  const dropped = new Set(['authorization', ...namesIn('header')])
  const parameters = new Set(namesIn('query'))
  const stripped = new URL(url)
  if (parameters.size > 0 && url.search !== '') {
    stripped.search = url.search
      .slice(1)
      .split('&')
      .filter((part) => !parameters.has(canonical(parameterName(part))))
      .join('&')
  }
  const { others, cookies } = takeCookies(headers)
  const kept = withoutNames(cookies, namesIn('cookie'))
  const headersLeft: Header[] = others.filter(([name]) => !dropped.has(canonical(name)))
  if (kept.length > 0) headersLeft.push(['cookie', kept.join('; ')])
  return { url: stripped, headers: headersLeft }
}

/** Puts the opened values where the vault says they belong, for the credentials of this origin. Throws BindingError. */
export function withCredentials(
  outgoing: Outgoing,
  credentials: readonly Credential[],
  opened: ReadonlyMap<string, OpenedSecret>,
  howToSet: (name: string) => string,
): Outgoing {
  const { others: headers, cookies: asked } = takeCookies(outgoing.headers)
  const cookies: string[] = []
  const url = new URL(outgoing.url)
  const parts = url.search === '' ? [] : [url.search.slice(1)]
  for (const credential of credentials) {
    const secret = opened.get(credential.name)
    if (secret === undefined) {
      if (credential.optional === true) continue
      throw new BindingError(
        'credential_missing',
        `The credential ${credential.name} has no value yet. ${howToSet(credential.name)}`,
      )
    }
    checkDestination(credential, secret, outgoing.url.origin, howToSet)
    const value = usableValue(secret)
    const parameter = secret.destination?.parameter ?? ''
    switch (credential.scheme) {
      case 'bearer':
        headers.push(['authorization', `Bearer ${latin1(value)}`])
        break
      case 'basic':
        headers.push(['authorization', `Basic ${basicText(value)}`])
        break
      case 'header':
        headers.push([parameter, latin1(value)])
        break
      case 'query':
        parts.push(`${encodeURIComponent(parameter)}=${encodeURIComponent(value)}`)
        break
      case 'cookie':
        cookies.push(`${parameter}=${cookieValue(credential.name, value)}`)
        break
      default:
        credential.scheme satisfies never
    }
  }
  // Ours come first: an open quote in the code's own would swallow what follows in some readers.
  const allCookies = [...cookies, ...asked]
  if (allCookies.length > 0) headers.push(['cookie', allCookies.join('; ')])
  url.search = parts.join('&')
  return { url, headers }
}

/** `user:password` in base64 (RFC 7617); a value without a colon is a user name without a password. */
function basicText(value: string): string {
  return Buffer.from(value.includes(':') ? value : `${value}:`, 'utf8').toString('base64')
}

/** What must not come back: the value, and of `user:password` the password alone; user names are honest text. */
export function guardedTexts({ destination, value }: OpenedSecret): string[] {
  const text = Buffer.from(value).toString('utf8')
  if (destination?.scheme !== Scheme.BASIC || !text.includes(':')) return [text]
  return [text, text.slice(text.indexOf(':') + 1)]
}

/** What the person chose when the value was entered decides; a later contract cannot move it. */
function checkDestination(
  { name, scheme, parameter }: Credential,
  { destination }: OpenedSecret,
  origin: string,
  howToSet: (name: string) => string,
): void {
  const isSame =
    destination?.scheme === schemeFrom[scheme] &&
    destination.parameter === (parameter ?? '') &&
    destination.origins.includes(origin)
  if (isSame) return
  throw new BindingError(
    'credential_destination',
    `The credential ${name} was entered for another destination than ${origin}. ${howToSet(name)}`,
  )
}

function usableValue({ name, value }: OpenedSecret): string {
  const text = Buffer.from(value).toString('utf8')
  // Runs of backslashes would make the search for the value in answers slow (scrub.ts); no real key has them.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (text === '' || text.includes('\\\\\\\\') || /[\u0000-\u001f\u007f]/.test(text)) {
    throw new BindingError(
      'credential_unusable',
      `The value of the credential ${name} has characters that no request can carry.`,
    )
  }
  return text
}

/** RFC 6265 section 4.1.1, cookie-octet. */
function cookieValue(name: string, value: string): string {
  if (/^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+$/.test(value)) return value
  throw new BindingError(
    'credential_unusable',
    `The value of the credential ${name} has characters that a cookie cannot carry.`,
  )
}

/** Header values travel as bytes: UTF-8, one character a byte. */
function latin1(value: string): string {
  return Buffer.from(value, 'utf8').toString('latin1')
}

/** Some servers read `_` as `-` in header names and ignore the case of parameters. */
function canonical(name: string): string {
  return name.toLowerCase().replaceAll('_', '-')
}

function parameterName(part: string): string {
  const raw = part.split('=')[0] ?? ''
  try {
    return decodeURIComponent(raw.replaceAll('+', ' ')).trim()
  } catch {
    return raw
  }
}
