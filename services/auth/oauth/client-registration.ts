/** Dynamic client registration (RFC 7591): what a client may say about itself, and what it is told. */
import { type ClientAuthMethod, clientAuthMethods } from '@bmm/spec/client-authentication'
import { z } from 'zod'
import { OAuthError } from './oauth-error.ts'
import { redirectTarget, redirectUriFault } from './redirect-uri.ts'

const grantTypes = ['authorization_code', 'refresh_token'] as const
export type GrantType = (typeof grantTypes)[number]

/** A client as stored. */
export type OAuthClient = {
  /** `cli_…`. */
  id: string
  /** SHA-256 of its secret; null for public clients. */
  secretHash: Buffer | null
  authMethod: ClientAuthMethod
  /** What it calls itself: unverified. */
  name: string
  redirectUris: string[]
  grantTypes: GrantType[]
  /** The operator registered it: its name is vouched for. */
  byOperator: boolean
  createdAt: Date
}

export type ClientMetadata = Pick<
  OAuthClient,
  'authMethod' | 'name' | 'redirectUris' | 'grantTypes'
> & {
  /** What the answer names: RFC 7591's default for a client that named none, which may refresh nevertheless. */
  toldGrantTypes: GrantType[]
}

const MAX_REDIRECT_URIS = 10
const MAX_NAME_CHARACTERS = 80
const MAX_LIST = 50

// Unknown members are ignored (RFC 7591 section 2); so is `scope`, which caps nothing here.
const metadataSchema = z.object({
  redirect_uris: z.array(z.string()).min(1).max(MAX_REDIRECT_URIS),
  client_name: z.string().optional(),
  token_endpoint_auth_method: z.string().optional(),
  grant_types: z.array(z.string()).max(MAX_LIST).optional(),
  response_types: z.array(z.string()).max(MAX_LIST).optional(),
  jwks: z.unknown().optional(),
  jwks_uri: z.unknown().optional(),
})

/** Reads the metadata document; throws OAuthError `invalid_client_metadata` or `invalid_redirect_uri`. */
export function parseClientMetadata(bytes: Uint8Array): ClientMetadata {
  const parsed = metadataSchema.safeParse(withoutNulls(jsonFrom(bytes)))
  if (!parsed.success) throw shapeError(parsed.error)
  const metadata = parsed.data
  for (const uri of metadata.redirect_uris) {
    const fault = redirectUriFault(uri)
    if (fault !== undefined) throw new OAuthError('invalid_redirect_uri', fault)
  }
  if (metadata.response_types !== undefined && !metadata.response_types.includes('code')) {
    throw new OAuthError('invalid_client_metadata', 'response_types: only code is supported.')
  }
  // RFC 7591 section 2: never both. Neither is used, because no client authenticates with a key here.
  if (metadata.jwks !== undefined && metadata.jwks_uri !== undefined) {
    throw new OAuthError('invalid_client_metadata', 'jwks and jwks_uri exclude each other.')
  }
  return {
    authMethod: authMethodFrom(metadata.token_endpoint_auth_method),
    name: nameFrom(metadata.client_name, metadata.redirect_uris),
    redirectUris: [...new Set(metadata.redirect_uris)],
    grantTypes: grantTypesFrom(metadata.grant_types ?? [...grantTypes]),
    toldGrantTypes: grantTypesFrom(metadata.grant_types ?? ['authorization_code']),
  }
}

/** The client information response (RFC 7591 section 3.2.1). */
export function clientInformation(
  client: OAuthClient & Partial<Pick<ClientMetadata, 'toldGrantTypes'>>,
  secret: string | undefined,
): object {
  return {
    client_id: client.id,
    client_id_issued_at: Math.floor(client.createdAt.getTime() / 1000),
    ...(secret === undefined ? {} : { client_secret: secret, client_secret_expires_at: 0 }),
    client_name: client.name,
    redirect_uris: client.redirectUris,
    grant_types: client.toldGrantTypes ?? client.grantTypes,
    response_types: ['code'],
    token_endpoint_auth_method: client.authMethod,
  }
}

function jsonFrom(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw new OAuthError('invalid_client_metadata', 'The body is not a JSON object.')
  }
}

/** A member that is null is as if it were left out (RFC 7592 section 2.2). */
function withoutNulls(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== null))
}

function shapeError(error: z.ZodError): OAuthError {
  const member = error.issues[0]?.path[0]
  // The path's head is a name of our own schema; deeper parts and the message may hold input.
  if (member === 'redirect_uris') {
    return new OAuthError(
      'invalid_redirect_uri',
      `redirect_uris: give 1 to ${MAX_REDIRECT_URIS} strings.`,
    )
  }
  return new OAuthError(
    'invalid_client_metadata',
    member === undefined
      ? 'The body is not a JSON object.'
      : `${String(member)}: has the wrong type or too many entries.`,
  )
}

/** The default is the RFC's, although most MCP clients are public: they say so. */
function authMethodFrom(given = 'client_secret_basic'): ClientAuthMethod {
  const known = clientAuthMethods.find((method) => method === given)
  if (known !== undefined) return known
  throw new OAuthError(
    'invalid_client_metadata',
    `token_endpoint_auth_method: one of ${clientAuthMethods.join(', ')}.`,
  )
}

/** Grant types that do not exist here are dropped, and the response says so. */
function grantTypesFrom(given: string[]): GrantType[] {
  const known = grantTypes.filter((type) => given.includes(type))
  if (known.includes('authorization_code')) return known
  throw new OAuthError('invalid_client_metadata', 'grant_types: authorization_code is needed.')
}

/** One line of visible characters: the name is shown where a person decides. */
function nameFrom(given: string | undefined, redirectUris: string[]): string {
  const visible = (given ?? '')
    .replace(/[\p{C}\p{Zl}\p{Zp}]/gu, ' ')
    .replace(/\s+/g, ' ')
    .trim()
  const name = [...visible].slice(0, MAX_NAME_CHARACTERS).join('').trim()
  return name === '' ? redirectTarget(redirectUris[0] ?? '') : name
}
