/** As much of oidc-provider as the oracle uses; the package ships no types. */
declare module 'oidc-provider' {
  import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'

  type Interaction = {
    prompt: { name: string }
    params: { client_id?: string; login_hint?: string; resource?: string | string[] }
    session?: { accountId: string }
  }

  export class Provider {
    constructor(issuer: string, configuration: object)
    callback(): RequestListener
    interactionDetails(request: IncomingMessage, response: ServerResponse): Promise<Interaction>
    interactionFinished(
      request: IncomingMessage,
      response: ServerResponse,
      result: object,
    ): Promise<void>
    Grant: new (owner: {
      accountId: string
      clientId: string | undefined
    }) => {
      addOIDCScope(scope: string): void
      addResourceScope(resource: string, scope: string): void
      save(): Promise<string>
    }
  }

  export const errors: { InvalidTarget: new () => Error }
}
