/** What the auth service serves: both of its contracts. */
import { SessionService } from '@bmm/proto/auth/v1/auth_service'
import { OAuthService } from '@bmm/proto/auth/v1/oauth_service'
import type { ConnectRouter } from '@connectrpc/connect'
import { type OAuthServiceOptions, oauthService } from './oauth-service.ts'
import { type SessionServiceOptions, sessionService } from './session-service.ts'

/** Registers both services. */
export function authRoutes(options: {
  session: SessionServiceOptions
  oauth: OAuthServiceOptions
}) {
  return (router: ConnectRouter): void => {
    router.service(SessionService, sessionService(options.session))
    router.service(OAuthService, oauthService(options.oauth))
  }
}
