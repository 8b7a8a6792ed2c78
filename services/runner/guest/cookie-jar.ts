/** Cookies that an API sets (a session after a login), sent back to the same origin for as long as this sandbox lives: one person's. */

type Kept = { name: string; value: string; path: string; isSecure: boolean; expiresMs: number }

/** More than a session needs; the oldest go first. */
const MAX_COOKIES = 50
const MAX_COOKIE_BYTES = 4096
/** RFC 6265 section 4.1.1. */
const namePattern = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const valuePattern = /^[\x20-\x3a\x3c-\x7e]*$/

export type CookieJar = {
  /** The names that were taken from the answer's `Set-Cookie` headers, deletions left out. */
  take(url: string, headers: readonly (readonly [name: string, value: string])[]): string[]
  /** The request's headers with what the jar has for this address; what the request sets itself stays as it is. */
  withCookies(
    url: string,
    headers: [name: string, value: string][],
  ): [name: string, value: string][]
}

/** `now` is in milliseconds. A cookie stays with the very origin that set it: `Domain` would need a list of public suffixes. */
export function createCookieJar(now: () => number = Date.now): CookieJar {
  const ofOrigins = new Map<string, Kept[]>()
  let count = 0

  function makeRoom(): void {
    for (const [origin, kept] of ofOrigins) {
      while (kept.length > 0 && count > MAX_COOKIES) {
        kept.shift()
        count--
      }
      if (kept.length === 0) ofOrigins.delete(origin)
      if (count <= MAX_COOKIES) return
    }
  }

  return {
    take(url, headers) {
      const set = headers.filter(([name]) => name.toLowerCase() === 'set-cookie')
      if (set.length === 0) return []
      const { origin, pathname, protocol } = new URL(url)
      const kept = ofOrigins.get(origin) ?? []
      ofOrigins.set(origin, kept)
      const names: string[] = []
      for (const [, text] of set) {
        const cookie = cookieFrom(text, pathname, now())
        if (cookie === undefined || (cookie.isSecure && protocol !== 'https:')) continue
        const old = kept.findIndex(({ name, path }) => name === cookie.name && path === cookie.path)
        if (old !== -1) {
          kept.splice(old, 1)
          count--
        }
        if (cookie.expiresMs <= now()) continue
        kept.push(cookie)
        count++
        names.push(cookie.name)
      }
      makeRoom()
      return names
    },
    withCookies(url, headers) {
      if (count === 0) return headers
      const { origin, pathname } = new URL(url)
      const isCookie = ([name]: [string, string]) => name.toLowerCase() === 'cookie'
      const own = headers.filter(isCookie).map(([, value]) => value)
      const taken = new Set(
        own.flatMap((value) => value.split(';')).map((part) => part.split('=', 1)[0]?.trim()),
      )
      const sent = (ofOrigins.get(origin) ?? [])
        .filter(({ name, path, expiresMs }) => {
          return !taken.has(name) && expiresMs > now() && covers(path, pathname)
        })
        // RFC 6265 section 5.4: longer paths first.
        .sort((a, b) => b.path.length - a.path.length)
        .map(({ name, value }) => `${name}=${value}`)
      if (sent.length === 0) return headers
      const others = headers.filter((header) => !isCookie(header))
      return [...others, ['cookie', [...own, ...sent].join('; ')]]
    },
  }
}

/** RFC 6265 section 5.2, without `Domain`: undefined for what no request could send back. */
function cookieFrom(text: string, pathname: string, nowMs: number): Kept | undefined {
  const [pair = '', ...attributes] = text.split(';')
  const equals = pair.indexOf('=')
  const name = pair.slice(0, Math.max(0, equals)).trim()
  const value = pair.slice(equals + 1).trim()
  if (text.length > MAX_COOKIE_BYTES || !namePattern.test(name) || !valuePattern.test(value)) {
    return undefined
  }
  const given = new Map(
    attributes.map((attribute) => {
      const [key = '', ...rest] = attribute.split('=')
      return [key.trim().toLowerCase(), rest.join('=').trim()]
    }),
  )
  const path = given.get('path')
  return {
    ...{ name, value },
    path: path?.startsWith('/') ? path : defaultPath(pathname),
    isSecure: given.has('secure'),
    expiresMs: expiryOf(given, nowMs),
  }
}

/** `Max-Age` wins over `Expires`; without either the cookie lives as long as the jar. */
function expiryOf(given: ReadonlyMap<string, string>, nowMs: number): number {
  const maxAge = given.get('max-age') ?? ''
  if (/^-?\d{1,15}$/.test(maxAge)) return nowMs + Number(maxAge) * 1_000
  const expires = Date.parse(given.get('expires') ?? '')
  return Number.isNaN(expires) ? Number.POSITIVE_INFINITY : expires
}

/** RFC 6265 section 5.1.4. */
function defaultPath(pathname: string): string {
  const end = pathname.lastIndexOf('/')
  return end <= 0 ? '/' : pathname.slice(0, end)
}

function covers(path: string, pathname: string): boolean {
  if (!pathname.startsWith(path)) return false
  return pathname === path || path.endsWith('/') || pathname[path.length] === '/'
}
