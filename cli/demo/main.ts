/** The tea shop as a process of its own: it serves until the stack that it belongs to is gone. */
import { readFileSync } from 'node:fs'
import { serveTeaShop } from './tea-shop.ts'

const LOOK_EVERY_MS = 500
const [port = '', supervisor = '', keyFile = ''] = process.argv.slice(2)

serveTeaShop({ port: Number(port), key: readFileSync(keyFile, 'utf8').trim() })
setInterval(() => {
  if (!isAlive(supervisor)) process.exit()
}, LOOK_EVERY_MS)

/** A process that ended and was not waited for still has a folder there, but no command line. */
function isAlive(pid: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`).length > 0
  } catch {
    return false
  }
}
