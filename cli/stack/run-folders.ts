/** The run directory of a stack: who may reach which socket is decided by these owners and modes. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ownFolder } from './folders.ts'
import { publicKeysText } from './keys.ts'
import type { StackPaths } from './paths.ts'
import type { UserIds } from './user-ids.ts'

const ROOT = 0
const rpcServices = ['auth', 'secrets', 'generator', 'runner', 'broker', 'gateway'] as const

/** Makes the folders, the mount points and the file of public keys. */
export function makeRunFolders(paths: StackPaths, users: UserIds): void {
  mkdirSync(paths.state, { recursive: true, mode: 0o755 })
  // Passable, not readable: what lies below decides for itself who may come in.
  ownFolder(paths.run, ROOT, ROOT, 0o711)
  ownFolder(paths.rpc, ROOT, ROOT, 0o711)
  for (const service of rpcServices) {
    // Set-group-id: a socket made here belongs to the services' group.
    ownFolder(join(paths.rpc, service), users.of(service), users.group, 0o2750)
  }
  ownFolder(join(paths.run, 'keeper'), ROOT, ROOT, 0o711)
  ownFolder(paths.slots, ROOT, ROOT, 0o711)
  ownFolder(paths.mailbox, users.of('auth'), users.group, 0o700)
  ownFolder(join(paths.run, 'app'), ROOT, ROOT, 0o711)
  writeFileSync(join(paths.run, 'bun'), '')
  writeFileSync(paths.publicKeys, publicKeysText(paths.keys))
  chmodSync(paths.publicKeys, 0o644)
}
