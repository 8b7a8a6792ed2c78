/** Scopes: what exists, and which of the wished ones are granted. */
import { CALL_SCOPE, OFFLINE_SCOPE } from '@bmm/spec/scope'
import { OAuthError } from './oauth-error.ts'

const knownScopes = [CALL_SCOPE, OFFLINE_SCOPE] as const

/** OpenID Connect Core section 5.4: clients ask for them out of habit, so they are dropped, not refused. */
const signInScopes: ReadonlySet<string> = new Set([
  'openid',
  'profile',
  'email',
  'address',
  'phone',
])

/** RFC 6749 section 3.3. */
const scopeSyntax = /^[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*$/

/**
 * The scopes to grant: the baseline when nothing is asked for, else the known ones with the baseline.
 * Unknown scopes beside known ones are dropped and the answer says so (RFC 6749 section 3.3); a request
 * that names only unknown ones is refused. What the client registered is no cap: clients copy the first
 * challenge into their registration and ask for more later.
 */
export function grantedScopes(wished: string | undefined): string[] {
  if (wished === undefined) return [CALL_SCOPE]
  const names = parseScope(wished)
  const known = knownScopes.filter((scope) => names.has(scope))
  const isForeign = [...names].some((name) => !signInScopes.has(name))
  if (known.length === 0 && isForeign)
    throw new OAuthError('invalid_scope', 'None of the scopes exists here.')
  return knownScopes.filter((scope) => scope === CALL_SCOPE || names.has(scope))
}

/** The scopes of a refreshed access token: those of the grant, or a part of them (RFC 6749 section 6). */
export function narrowedScopes(granted: readonly string[], wished: string | undefined): string[] {
  if (wished === undefined) return [...granted]
  const names = parseScope(wished)
  for (const name of names) {
    if (!granted.includes(name)) {
      throw new OAuthError('invalid_scope', 'A scope goes beyond what was granted.')
    }
  }
  return granted.filter((scope) => names.has(scope))
}

function parseScope(text: string): Set<string> {
  if (!scopeSyntax.test(text)) throw new OAuthError('invalid_scope', 'The scope is malformed.')
  return new Set(text.split(' '))
}
