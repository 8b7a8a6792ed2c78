/** What the auth service serves: all of its contracts. */
import { SessionService } from '@bmm/proto/auth/v1/auth_service'
import { ClientService } from '@bmm/proto/auth/v1/client_service'
import { OAuthService } from '@bmm/proto/auth/v1/oauth_service'
import { ServiceTokenService } from '@bmm/proto/auth/v1/service_token_service'
import type { ConnectRouter } from '@connectrpc/connect'
import { type ClientServiceOptions, clientService } from './oauth/client-service.ts'
import { type OAuthServiceOptions, oauthService } from './oauth/oauth-service.ts'
import {
  type ServiceTokenOptions,
  serviceTokenService,
} from './service-token/service-token-service.ts'
import { type SessionServiceOptions, sessionService } from './sign-in/session-service.ts'

/** Registers all services. */
export function authRoutes(options: {
  session: SessionServiceOptions
  oauth: OAuthServiceOptions
  clients: ClientServiceOptions
  tokens: ServiceTokenOptions
}) {
  return (router: ConnectRouter): void => {
    router.service(SessionService, sessionService(options.session))
    router.service(OAuthService, oauthService(options.oauth))
    router.service(ClientService, clientService(options.clients))
    router.service(ServiceTokenService, serviceTokenService(options.tokens))
  }
}
