/** The tea shop as a process of its own: it serves until the stack that it belongs to is gone. */
import { existsSync, readFileSync } from 'node:fs'
import { serveTeaShop } from './tea-shop.ts'

const LOOK_EVERY_MS = 1_000
const [port = '', supervisor = '', keyFile = ''] = process.argv.slice(2)

serveTeaShop({ port: Number(port), key: readFileSync(keyFile, 'utf8').trim() })
setInterval(() => {
  if (!existsSync(`/proc/${supervisor}`)) process.exit()
}, LOOK_EVERY_MS)
