/** Files in a slot's directories: written for one sandbox to read, cleared after a process that was killed. */
import { chmodSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import {
  MODULE_FILE,
  SLOT_CODE_MODE,
  SLOT_FILE_MODE,
  slotDirectory,
  slotFiles,
} from './sandbox-limits.ts'

/** Replaces what lies there, and never writes through it. */
export function writeSlotFile(path: string, content: string | Uint8Array): void {
  rmSync(path, { force: true })
  writeFileSync(path, content, { flag: 'wx', mode: SLOT_FILE_MODE })
  chmodSync(path, SLOT_FILE_MODE)
}

/** Lays a server's compiled module where its sandbox imports it from. */
export function writeModule(folder: string, module: Uint8Array): void {
  rmSync(folder, { force: true, recursive: true })
  mkdirSync(folder)
  chmodSync(folder, SLOT_CODE_MODE)
  // Written beside it first: only there do new files get the slot's gid.
  writeSlotFile(`${folder}.js`, module)
  renameSync(`${folder}.js`, `${folder}/${MODULE_FILE}`)
}

/** For the owner of the side, before it takes a slot: slots rest for long, and their files would rest with them. */
export function clearSlotFiles(slotsDir: string, slots: number, side: 'c' | 'e'): void {
  for (let slot = 0; slot < slots; slot++) {
    for (const file of Object.values(slotFiles)) {
      rmSync(`${slotDirectory(slotsDir, slot, side)}/${file}`, { force: true, recursive: true })
    }
  }
}
