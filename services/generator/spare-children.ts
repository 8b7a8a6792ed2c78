/** Spare children: started before there is anything for them to read, since loading a program takes longer than most documents. */
import { type ChildPrograms, childPrograms } from './child-programs.ts'
import { codeLimits, startCodeChild } from './code/code.ts'
import type { DisposableChild, StartChild } from './disposable.ts'
import { importLimits, startImportChild } from './openapi/import-document.ts'

/** New ones start when nobody has taken one for so long: not beside the work that took the last. */
const QUIET_MS = 300

export type SpareChildren = Disposable & {
  /** One that waits already, else a new one. Each is handed out once. */
  start: StartChild
}

/** One document after the other finds a child ready for its import, its scan and its build. */
export function openSpareChildren(programs: ChildPrograms = childPrograms()) {
  const importing = spareChildren(() => startImportChild(importLimits, programs.openapi), 1)
  const code = spareChildren(() => startCodeChild(codeLimits, programs.code), 2)
  return {
    startImportChild: importing.start,
    startCodeChild: code.start,
    [Symbol.dispose]() {
      importing[Symbol.dispose]()
      code[Symbol.dispose]()
    },
  }
}

/** Keeps `count` children waiting. */
export function spareChildren(start: StartChild, count: number): SpareChildren {
  const waiting: DisposableChild[] = []
  let timer: Timer | undefined

  function fill(): void {
    while (waiting.length < count) waiting.push(start())
  }

  fill()
  return {
    start() {
      clearTimeout(timer)
      timer = setTimeout(fill, QUIET_MS)
      while (true) {
        const child = waiting.shift()
        if (child === undefined) return start()
        if (child.isAlive()) return child
      }
    },
    [Symbol.dispose]() {
      clearTimeout(timer)
      for (const child of waiting.splice(0)) child.kill()
    },
  }
}
