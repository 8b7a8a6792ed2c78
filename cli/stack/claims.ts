/** Numbers of this machine that data directories claim for themselves: blocks of users, and ports. */
import { existsSync, mkdirSync, readdirSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { waitForLock } from './lock.ts'
import { stateRoot } from './paths.ts'

export type Claiming = {
  kind: 'uids' | 'ports' | 'grpc-ports'
  /** The data directory. */
  data: string
  /** Chooses one that nobody else has; may throw. */
  choose: (taken: ReadonlySet<number>) => number
  /** Whether an earlier claim of the same data directory stands; otherwise it is given up. */
  keep: boolean
  /** Called with each data directory that is gone, when its claim is dropped. */
  onGone?: (data: string) => void
}

/** The claimed number: a link to the data directory, so that the claim ends when that is deleted. */
export function claimNumber({ kind, data, choose, keep, onGone }: Claiming): number {
  const folder = join(stateRoot, kind)
  mkdirSync(folder, { recursive: true, mode: 0o755 })
  using _ = waitForLock(join(stateRoot, `${kind}.lock`))
  const taken = new Set<number>()
  for (const name of readdirSync(folder)) {
    const claim = join(folder, name)
    const owner = readlinkSync(claim)
    if (owner === data && keep) return Number(name)
    if (owner !== data && existsSync(owner)) {
      taken.add(Number(name))
      continue
    }
    unlinkSync(claim)
    if (owner !== data) onGone?.(owner)
  }
  const chosen = choose(taken)
  symlinkSync(data, join(folder, String(chosen)))
  return chosen
}
