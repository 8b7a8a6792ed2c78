/** What a killed process left in its side of the slots: sockets that nobody listens on and tokens that nobody takes. */
import { rmSync } from 'node:fs'
import { slotDirectory, slotFiles } from './sandbox-limits.ts'

/** For the owner of the side, before it takes a slot: slots rest for long, and their files would rest with them. */
export function clearSlotFiles(slotsDir: string, slots: number, side: 'c' | 'e'): void {
  for (let slot = 0; slot < slots; slot++) {
    for (const file of Object.values(slotFiles)) {
      rmSync(`${slotDirectory(slotsDir, slot, side)}/${file}`, { force: true })
    }
  }
}
