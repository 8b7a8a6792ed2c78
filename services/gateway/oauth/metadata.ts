/** The documents that clients discover the authorization server by: RFC 8414 and RFC 9728. */
import { clientAuthMethods } from '@bmm/spec/client-authentication'
import { resourceUrl } from '@bmm/spec/resource-url'
import { CALL_SCOPE } from '@bmm/spec/scope'
import { NORMAL_SCOPES } from '../access/access-token.ts'

const scopes = NORMAL_SCOPES.split(' ')

/** RFC 8414 section 2: only what there is. */
export function authorizationServerMetadata(issuer: string) {
  return {
    issuer,
    authorization_endpoint: `${issuer}/oauth/authorize`,
    token_endpoint: `${issuer}/oauth/token`,
    registration_endpoint: `${issuer}/oauth/register`,
    revocation_endpoint: `${issuer}/oauth/revoke`,
    introspection_endpoint: `${issuer}/oauth/introspect`,
    jwks_uri: `${issuer}/oauth/jwks`,
    scopes_supported: scopes,
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    grant_types_supported: ['authorization_code', 'refresh_token'],
    code_challenge_methods_supported: ['S256'],
    token_endpoint_auth_methods_supported: clientAuthMethods,
    revocation_endpoint_auth_methods_supported: clientAuthMethods,
    introspection_endpoint_auth_methods_supported: clientAuthMethods,
    authorization_response_iss_parameter_supported: true,
  }
}

/** RFC 9728 section 2. */
export function protectedResourceMetadata(publicUrl: string, slug: string, name: string) {
  return {
    resource: resourceUrl(publicUrl, slug),
    resource_name: name,
    authorization_servers: [publicUrl],
    scopes_supported: [CALL_SCOPE],
    bearer_methods_supported: ['header'],
  }
}
