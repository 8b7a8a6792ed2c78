/** The REST API `/v1/*` and its description. */
import { Elysia } from 'elysia'
import { type BuildRoutesOptions, buildRoutes } from './builds.ts'
import { type CredentialRoutesOptions, credentialRoutes } from './credentials.ts'
import { type DraftRoutesOptions, draftRoutes } from './drafts.ts'
import { type LogRoutesOptions, logRoutes } from './logs.ts'
import { openApiDocument } from './openapi.ts'
import { type RefusalRoutesOptions, refusalRoutes } from './refusals.ts'
import { type ServerToolRoutesOptions, serverToolRoutes } from './server-tools.ts'
import { type ServerRoutesOptions, serverRoutes } from './servers.ts'
import { type SessionRoutesOptions, sessionRoutes } from './session-routes.ts'
import { type StatsRoutesOptions, statsRoutes } from './stats.ts'
import { type TokenRoutesOptions, tokenRoutes } from './tokens.ts'

export type ConsoleOptions = BuildRoutesOptions &
  CredentialRoutesOptions &
  DraftRoutesOptions &
  LogRoutesOptions &
  RefusalRoutesOptions &
  ServerRoutesOptions &
  ServerToolRoutesOptions &
  SessionRoutesOptions &
  StatsRoutesOptions &
  TokenRoutesOptions

export function consolePlugin(options: ConsoleOptions) {
  const routes = new Elysia({ name: 'console', normalize: false })
    .use(sessionRoutes(options))
    .use(draftRoutes(options))
    .use(serverRoutes(options))
    .use(serverToolRoutes(options))
    .use(credentialRoutes(options))
    .use(buildRoutes(options))
    .use(logRoutes(options))
    .use(refusalRoutes(options))
    .use(statsRoutes(options))
    .use(tokenRoutes(options))
  const document = JSON.stringify(openApiDocument(routes.routes, options.publicUrl))
  return routes.get(
    '/openapi.json',
    () => new Response(document, { headers: { 'content-type': 'application/json' } }),
  )
}
