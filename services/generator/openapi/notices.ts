/** What an import has to tell: warnings, grouped so that a thousand operations do not say a thing a thousand times. */

import { line } from './prose.ts'

/** Something that became less than the document says. `path` is a JSON pointer. */
export type Notice = { path: string; message: string }

export type Notices = {
  warn(path: string, message: string): void
  list(): Notice[]
}

const MAX_NOTICES = 500
/** Of a JSON pointer that is shown. */
export const MAX_PATH = 500

/** The same sentence about many places is told once, with the first place and the number of others. */
export function notices(): Notices {
  const places = new Map<string, { path: string; others: Set<string> }>()
  let untold = 0
  return {
    warn(path, message) {
      const known = places.get(message)
      if (known !== undefined) {
        if (path !== known.path) known.others.add(path)
      } else if (places.size < MAX_NOTICES) places.set(message, { path, others: new Set() })
      else untold += 1
    },
    list() {
      const told = [...places].map(([message, { path, others }]) => ({
        path: line(path, MAX_PATH),
        message: others.size === 0 ? message : `${message} (And in ${others.size} more places.)`,
      }))
      if (untold > 0) told.push({ path: '', message: `${untold} more warnings were left out.` })
      return told
    },
  }
}
