/** Making folders with exact owners and modes, whatever the umask is. */
import { chmodSync, chownSync, lchownSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Makes the folder, or corrects it; what lies in it changes hands along when the owner changed. */
export function ownFolder(path: string, user: number, group: number, mode: number): void {
  mkdirSync(path, { recursive: true, mode: 0o700 })
  // Data that was copied or moved here belongs to the users of the stack that wrote it.
  if (statSync(path).uid !== user) chownTree(path, user, group)
  chownSync(path, user, group)
  chmodSync(path, mode)
}

function chownTree(folder: string, user: number, group: number): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) chownTree(path, user, group)
    lchownSync(path, user, group)
  }
}
