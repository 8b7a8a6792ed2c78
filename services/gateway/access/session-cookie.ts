/** The browser's session: one cookie, and who may send it along with what. */

/** The prefix makes browsers refuse the cookie from subdomains and without Secure; kept on localhost over http. */
const SESSION_COOKIE = '__Host-bmm'
const MAX_AGE_SECONDS = 30 * 86_400
/** Says that a sign-in mail was asked for by this browser; it lives as long as the link. */
const BROWSER_COOKIE = '__Host-bmm-browser'
const BROWSER_SECONDS = 15 * 60
const browserPattern = /^[A-Za-z0-9_-]{43}$/
const sessionPattern = /^bms_[A-Za-z0-9_-]{1,190}$/

/** What the shape of a bearer says is a service token; whether it is one says `auth`. */
const serviceTokenPrefix = /^bmm_[0-9A-Za-z]{1,190}$/

export type SessionSource =
  | { kind: 'cookie'; token: string }
  | { kind: 'bearer'; token: string }
  | { kind: 'service_token'; token: string }
  | { kind: 'none' }

/** The session or service token that a request carries. A bearer wins: a program means it. */
export function sessionOf(request: Request): SessionSource {
  const authorization = request.headers.get('authorization')
  if (authorization !== null) {
    const token = /^Bearer (\S+)$/i.exec(authorization)?.[1] ?? ''
    if (serviceTokenPrefix.test(token)) return { kind: 'service_token', token }
    return sessionPattern.test(token) ? { kind: 'bearer', token } : { kind: 'none' }
  }
  const token = cookieOf(request, SESSION_COOKIE)
  return token !== undefined && sessionPattern.test(token)
    ? { kind: 'cookie', token }
    : { kind: 'none' }
}

/** The session of a browser, or ''. */
export function browserSession(request: Request): string {
  const token = cookieOf(request, SESSION_COOKIE)
  return token !== undefined && sessionPattern.test(token) ? token : ''
}

/** The secret of a browser that asked for a sign-in mail, or ''. */
export function browserSecret(request: Request): string {
  const secret = cookieOf(request, BROWSER_COOKIE)
  return secret !== undefined && browserPattern.test(secret) ? secret : ''
}

export function browserCookie(secret: string): string {
  return `${BROWSER_COOKIE}=${secret}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=${BROWSER_SECONDS}`
}

export function sessionCookie(token: string): string {
  return `${SESSION_COOKIE}=${token}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=${MAX_AGE_SECONDS}`
}

export const expiredSessionCookie = `${SESSION_COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0`

/**
 * Why a request's Origin is refused, as a sentence; undefined when it is fine. A state-changing request with a cookie
 * needs our own Origin; one with a bearer must not come from a foreign page. Browsers send it on every POST.
 */
export function originFault(
  request: Request,
  publicUrl: string,
  source: SessionSource['kind'],
): string | undefined {
  const origin = request.headers.get('origin')
  if (origin !== null && origin !== publicUrl) {
    return 'The request comes from a page of another origin.'
  }
  const safe = request.method === 'GET' || request.method === 'HEAD'
  return origin === null && source === 'cookie' && !safe
    ? 'A request with a cookie must say which page it comes from (Origin).'
    : undefined
}

function cookieOf(request: Request, name: string): string | undefined {
  for (const part of (request.headers.get('cookie') ?? '').split(';')) {
    const [key, ...value] = part.trim().split('=')
    if (key === name) return value.join('=')
  }
  return undefined
}
