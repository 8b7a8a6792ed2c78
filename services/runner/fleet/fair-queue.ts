/** A bounded waiting line that serves organisations in turn, so that one that asks for much delays itself only. */

export type FairQueue<Item> = {
  /** False when the line, or the organisation's part of it, is full. */
  push(orgId: string, item: Item): boolean
  /** The next item of the organisation whose turn it is. */
  shift(): Item | undefined
  /** Takes an item out that no longer waits; false when it was not in the line. */
  remove(orgId: string, item: Item): boolean
  readonly length: number
}

export function createFairQueue<Item>(limits: { total: number; perOrg: number }): FairQueue<Item> {
  /** In order of turns: the first organisation is served next and then goes to the end. */
  const lines = new Map<string, Item[]>()
  let length = 0
  return {
    push(orgId, item) {
      const line = lines.get(orgId) ?? []
      if (length >= limits.total || line.length >= limits.perOrg) return false
      line.push(item)
      lines.set(orgId, line)
      length++
      return true
    },
    shift() {
      for (const [orgId, line] of lines) {
        const item = line.shift()
        lines.delete(orgId)
        if (line.length > 0) lines.set(orgId, line)
        if (item === undefined) continue
        length--
        return item
      }
      return undefined
    },
    remove(orgId, item) {
      const line = lines.get(orgId)
      const at = line?.indexOf(item) ?? -1
      if (line === undefined || at < 0) return false
      line.splice(at, 1)
      if (line.length === 0) lines.delete(orgId)
      length--
      return true
    },
    get length() {
      return length
    },
  }
}
