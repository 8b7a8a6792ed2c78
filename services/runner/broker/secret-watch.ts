/** Hearing which secrets were changed, so that no opened value is used on: without it values still end by their age. */
import { watch } from '@bmm/lib/client'
import { errorFrom } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import { pause } from '@bmm/lib/pause'
import type { SecretsService } from '@bmm/proto/secrets/v1/secrets_service'
import type { Client } from '@connectrpc/connect'
import type { Vault } from './vault.ts'

const FIRST_PAUSE_MS = 250
const LONGEST_PAUSE_MS = 5_000

/** Watches until it is stopped, again and again. */
export function watchSecrets(options: {
  secrets: Pick<Client<typeof SecretsService>, 'watchSecrets'>
  vault: Vault
  log: Log
}): { stop(): void } {
  const { secrets, vault, log } = options
  const stopped = new AbortController()
  const { signal } = stopped

  async function follow(): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS
    while (!signal.aborted) {
      try {
        for await (const { serverId } of watch(secrets.watchSecrets, {}, { signal })) {
          pauseMs = FIRST_PAUSE_MS
          vault.forget(serverId === '' ? undefined : serverId)
        }
      } catch (error) {
        if (signal.aborted) return
        log.warn({ fault: errorFrom(error).message }, 'changes of secrets cannot be watched')
      }
      await pause(pauseMs, signal)
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)
    }
  }
  follow().catch((error: unknown) => log.error({ err: errorFrom(error) }, 'the watch broke down'))
  return { stop: () => stopped.abort() }
}
