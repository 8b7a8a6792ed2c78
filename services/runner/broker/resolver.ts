/** Host names and their addresses, remembered for seconds: every request is judged by them, not every one asks DNS. */
import type { Resolve } from '@bmm/lib/egress-policy'

const KEEP_MS = 5_000
const MAX_NAMES = 2_000

type Entry = { askedAt: number; addresses: Promise<readonly string[]> }

/** One question at a time for each name; failures and empty answers are not remembered. */
export function rememberingResolver(resolve: Resolve, now: () => number): Resolve {
  const entries = new Map<string, Entry>()

  function forget(name: string, entry: Entry): void {
    if (entries.get(name) === entry) entries.delete(name)
  }

  return (name) => {
    const known = entries.get(name)
    if (known !== undefined && now() - known.askedAt < KEEP_MS) return known.addresses
    const entry: Entry = { askedAt: now(), addresses: resolve(name) }
    entries.delete(name)
    entries.set(name, entry)
    const oldest = entries.size > MAX_NAMES ? entries.keys().next().value : undefined
    if (oldest !== undefined) entries.delete(oldest)
    entry.addresses.then(
      (addresses) => addresses.length === 0 && forget(name, entry),
      () => forget(name, entry),
    )
    return entry.addresses
  }
}
