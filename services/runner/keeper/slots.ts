/** The slots' directories: one for the runner's socket, one for the broker's, below a parent that only root changes. */
import { chmodSync, chownSync, mkdirSync } from 'node:fs'
import { SLOT_DIRECTORY_MODE, slotDirectory } from '../sandbox/sandbox-limits.ts'

export type SlotOwners = {
  slotsDir: string
  slots: number
  /** uid = gid of slot 0; slot n has this plus n. */
  slotUidBase: number
  runnerUid: number
  brokerUid: number
}

/**
 * Makes or repairs all directories. What stands inside `c` and `e` belongs to the runner and the broker and is
 * never touched as root.
 */
export function makeSlotDirectories(owners: SlotOwners): void {
  mkdirSync(owners.slotsDir, { recursive: true })
  chmodSync(owners.slotsDir, 0o711)
  for (let slot = 0; slot < owners.slots; slot++) {
    const parent = `${owners.slotsDir}/${slot}`
    mkdirSync(parent, { recursive: true })
    chmodSync(parent, 0o711)
    for (const [side, owner] of [
      ['c', owners.runnerUid],
      ['e', owners.brokerUid],
    ] as const) {
      const directory = slotDirectory(owners.slotsDir, slot, side)
      mkdirSync(directory, { recursive: true })
      chownSync(directory, owner, owners.slotUidBase + slot)
      chmodSync(directory, SLOT_DIRECTORY_MODE)
    }
  }
}
