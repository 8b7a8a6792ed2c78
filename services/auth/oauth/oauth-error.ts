/** The error of OAuth endpoints: a registered code and a sentence that never holds input. */

/** Registered codes that this server answers (RFC 6749, 7009, 7591, 8707, OpenID Connect Core). */
export type OAuthErrorCode =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_grant'
  | 'unauthorized_client'
  | 'unsupported_grant_type'
  | 'unsupported_response_type'
  | 'invalid_scope'
  | 'invalid_target'
  | 'access_denied'
  | 'login_required'
  | 'consent_required'
  | 'request_not_supported'
  | 'request_uri_not_supported'
  | 'invalid_redirect_uri'
  | 'invalid_client_metadata'
  | 'temporarily_unavailable'

export type OAuthErrorStatus = 400 | 401 | 429

export class OAuthError extends Error {
  override name = 'OAuthError'
  readonly code: OAuthErrorCode
  readonly status: OAuthErrorStatus
  /** Seconds to wait, with status 429; else 0. */
  readonly retryAfterSeconds: number
  /** Where the person may go on by hand; '' when nowhere. */
  readonly returnUrl: string

  constructor(
    code: OAuthErrorCode,
    description: string,
    options: { status?: OAuthErrorStatus; retryAfterSeconds?: number; returnUrl?: string } = {},
  ) {
    super(description)
    this.code = code
    this.status = options.status ?? 400
    this.retryAfterSeconds = options.retryAfterSeconds ?? 0
    this.returnUrl = options.returnUrl ?? ''
  }
}
