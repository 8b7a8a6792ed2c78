/** Calling the services that a build depends on: their clients, patience while they are away, and what they sign. */
import { rpcClient } from '@bmm/lib/client'
import { reasonOf } from '@bmm/lib/errors'
import type { Identity } from '@bmm/lib/identity'
import { pause } from '@bmm/lib/pause'
import { askStatementKeys, createStatementKeyring } from '@bmm/lib/statement-keys'
import { OAuthService } from '@bmm/proto/auth/v1/oauth_service'
import { DeploymentService } from '@bmm/proto/runner/v1/runner_service'
import { SecretsService, StatementService } from '@bmm/proto/secrets/v1/secrets_service'
import type { SignedStatement as SignedStatementMessage } from '@bmm/proto/v1/statement'
import { openStatement, type ServeStatement, type SignedStatement } from '@bmm/spec/statement'
import { type Client, Code, ConnectError } from '@connectrpc/connect'

export type Downstream = {
  statements: Client<typeof StatementService>
  secrets: Client<typeof SecretsService>
  deployments: Client<typeof DeploymentService>
  grants: Client<typeof OAuthService>
}

export function openDownstream(own: { identity: Identity; rpcDir: string }): Downstream {
  return {
    statements: rpcClient(StatementService, { ...own, to: 'secrets' }),
    secrets: rpcClient(SecretsService, { ...own, to: 'secrets' }),
    deployments: rpcClient(DeploymentService, { ...own, to: 'runner' }),
    grants: rpcClient(OAuthService, { ...own, to: 'auth' }),
  }
}

const FIRST_PAUSE_MS = 250
const LONGEST_PAUSE_MS = 4_000
/** Answers that a repetition may turn into a better one. */
const passing = new Set([Code.Unavailable, Code.ResourceExhausted, Code.DeadlineExceeded])

export type Patience = {
  signal: AbortSignal
  patienceMs: number
  /** Called once, before the first pause. */
  onPause?: (error: ConnectError) => Promise<void>
}

/** Calls until there is an answer that a repetition would not change, or patience is at its end. */
export async function insist<Answer>(
  call: () => Promise<Answer>,
  { signal, patienceMs, onPause }: Patience,
): Promise<Answer> {
  const end = performance.now() + patienceMs
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    try {
      return await call()
    } catch (error) {
      signal.throwIfAborted()
      const mayPass = error instanceof ConnectError && passing.has(error.code)
      if (!mayPass || performance.now() + pauseMs > end) throw error
      if (pauseMs === FIRST_PAUSE_MS) await onPause?.(error)
      await pause(pauseMs, signal)
      signal.throwIfAborted()
    }
  }
}

/** The machine reason of a deliberate refusal, or undefined when the other side was away or failed. */
export function refusalReason(error: unknown): string | undefined {
  return error instanceof ConnectError && !passing.has(error.code) ? reasonOf(error) : undefined
}

export type StatementCheck = {
  /** The serve statement in what was signed, or undefined when it is none or its signature is wrong. */
  open(signed: SignedStatement): Promise<ServeStatement | undefined>
}

/** Verifies statements by the signer's public keys, asked again when a key is new. */
export function statementCheck(statements: Downstream['statements']): StatementCheck {
  const keyring = createStatementKeyring({ ask: () => askStatementKeys(statements), now: Date.now })
  return {
    async open(signed) {
      const statement = openStatement(signed, await keyring.keysFor(signed.keyId))
      return statement?.kind === 'serve' ? statement : undefined
    },
  }
}

/** What the contract marks as always there. */
export function signedOf(message: SignedStatementMessage | undefined): SignedStatement {
  if (message === undefined) throw new Error('the signer answered without a statement')
  const { bytes, signature, keyId } = message
  return { bytes, signature, keyId }
}
