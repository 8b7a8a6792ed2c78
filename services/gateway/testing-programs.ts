/** Stand-in for the service tokens of `auth`: tokens that a test makes, exchanged for user tokens that verify. */
import { randomBytes } from 'node:crypto'
import { notFound, unauthenticated } from '@bmm/lib/errors'
import type { ServiceName } from '@bmm/lib/identity'
import { newId } from '@bmm/lib/ids'
import { serviceName } from '@bmm/lib/rpc-rules'
import { type TestIdentities, type TestUser, testUser } from '@bmm/lib/testing'
import {
  type CreateServiceTokenRequest,
  ServiceTokenService,
} from '@bmm/proto/auth/v1/service_token_service'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import type { ConnectRouter } from '@connectrpc/connect'

export type TestProgram = { value: string; tokenId: string; user: TestUser; scopes: string[] }

export type StandInPrograms = {
  /** Registers a token; `user` tells whom it acts for. */
  make(scopes: string[], user?: Partial<TestUser>): TestProgram
  /** From now on `auth` knows it no more. */
  forget(program: TestProgram): void
  /** What was asked for, and how often tokens were exchanged. */
  asked: { created: CreateServiceTokenRequest[]; exchanges: number; audiences: ServiceName[][] }
  serve(router: ConnectRouter): void
}

export function standInPrograms(identities: TestIdentities): StandInPrograms {
  const known = new Map<string, TestProgram>()
  const asked: StandInPrograms['asked'] = { created: [], exchanges: 0, audiences: [] }
  const expiresAt = () => timestampFromMs(Date.now() + 300_000)
  return {
    asked,
    make(scopes, user = {}) {
      const value = `bmm_${randomBytes(40).toString('hex').slice(0, 49)}`
      const program = { value, tokenId: newId('tok'), user: testUser(user), scopes }
      known.set(value, program)
      return program
    },
    forget: ({ value }) => void known.delete(value),
    serve(router) {
      router.service(ServiceTokenService, {
        async exchangeServiceToken({ value, audiences, confirmDigest }) {
          asked.exchanges++
          const program = known.get(value)
          if (program === undefined) throw unauthenticated('token_invalid', 'It is unknown.')
          const { tokenId, user, scopes } = program
          const names = audiences.map(serviceName)
          asked.audiences.push(names)
          const userToken = await identities.mintUser(
            { ...user, sessionId: tokenId },
            {
              ...{ scopes, audiences: names },
              ...(confirmDigest === '' ? {} : { confirmDigest }),
            },
          )
          const { userId, orgId } = user
          return {
            ...{ userToken, expiresAt: expiresAt(), tokenId, userId, orgId, scopes },
            ...{ userEmail: 'ada@example.com', orgName: 'Ada', role: user.role, tokenName: 'ci' },
            tokenExpiresAt: timestampFromMs(Date.UTC(2026, 10, 22, 1, 2, 3, 4)),
          }
        },
        createServiceToken(request) {
          asked.created.push(request)
          const { name, scopes } = request
          const token = { id: newId('tok'), name, scopes, userEmail: 'ada@example.com' }
          const at = timestampFromMs(Date.UTC(2026, 10, 22))
          return { value: 'bmm_shown-once', token: { ...token, createdAt: at, expiresAt: at } }
        },
        listServiceTokens: () => ({ tokens: [] }),
        revokeServiceToken() {
          throw notFound('token_not_found', 'There is no such live token.')
        },
      })
    },
  }
}
