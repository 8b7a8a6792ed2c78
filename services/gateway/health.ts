/** Whether the gateway lives, and whether everything that it depends on answers. */
import { join } from 'node:path'
import { errorFrom } from '@bmm/lib/errors'
import { Elysia } from 'elysia'

const CHECK_TIMEOUT_MS = 1_500

/** By name of the dependency: resolves to a sentence when it is at fault, else to undefined. */
export type Checks = Readonly<
  Record<string, () => Promise<string | undefined> | string | undefined>
>

/** A warning is for the operator; it makes nothing unready. */
export function healthPlugin(checks: Checks, warning: () => string | undefined) {
  return new Elysia({ name: 'health' })
    .get('/health/live', () => ({ status: 'ok' }))
    .get('/health/ready', async ({ set }) => {
      const faults = await findFaults(checks)
      const ready = Object.keys(faults).length === 0
      set.status = ready ? 200 : 503
      const warned = warning()
      const warnings = warned === undefined ? {} : { warnings: [warned] }
      return ready ? { status: 'ok', ...warnings } : { status: 'unready', faults, ...warnings }
    })
}

/** The faults by dependency; empty when all is well. */
export async function findFaults(checks: Checks): Promise<Record<string, string>> {
  const found = await Promise.all(
    Object.entries(checks).map(async ([name, check]) => {
      const late = new Promise<string>((resolve) =>
        setTimeout(() => resolve('does not answer in time'), CHECK_TIMEOUT_MS).unref(),
      )
      const fault = await Promise.race([Promise.resolve().then(check), late]).catch(
        (thrown: unknown) => errorFrom(thrown).message,
      )
      return [name, fault] as const
    }),
  )
  return Object.fromEntries(found.flatMap(([name, fault]) => (fault ? [[name, fault]] : [])))
}

/** Asks a service's own health check on its socket. */
export async function serviceFault(rpcDir: string, service: string): Promise<string | undefined> {
  try {
    const response = await fetch('http://rpc.localhost/health', {
      unix: join(rpcDir, service, 'rpc.sock'),
      signal: AbortSignal.timeout(CHECK_TIMEOUT_MS),
    })
    return response.ok ? undefined : 'is not ready'
  } catch {
    return 'does not answer'
  }
}
