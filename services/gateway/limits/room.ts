/** Memory that what people send and do not read may take here: bounded for each person and in all. */

export type Room = {
  /** The way to give the room back, which counts once; undefined when there is none. */
  reserve(userId: string, bytes: number): (() => void) | undefined
}

export type RoomLimits = {
  perPerson: number
  total: number
  /** Of the total, what nobody takes who holds more than `each`: a few who send much shut out nobody who sends little. */
  little?: { each: number; total: number }
}

export function openRoom(limits: RoomLimits): Room {
  const { little = { each: 0, total: 0 } } = limits
  const perPerson = new Map<string, number>()
  let total = 0
  return {
    reserve(userId, bytes) {
      const mine = (perPerson.get(userId) ?? 0) + bytes
      const open = mine <= little.each ? limits.total : limits.total - little.total
      if (mine > limits.perPerson || total + bytes > open) return undefined
      perPerson.set(userId, mine)
      total += bytes
      let isHeld = true
      return () => {
        if (!isHeld) return
        isHeld = false
        total -= bytes
        const left = (perPerson.get(userId) ?? 0) - bytes
        if (left > 0) perPerson.set(userId, left)
        else perPerson.delete(userId)
      }
    },
  }
}
