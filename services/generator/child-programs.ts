/** Where the programs of the disposable children lie: as sources here, or bundled by `bundle.ts`. */
import { join } from 'node:path'

const sources = {
  openapi: join(import.meta.dir, 'openapi/child.ts'),
  code: join(import.meta.dir, 'code/child.ts'),
}

export type ProgramName = keyof typeof sources
export type ChildPrograms = Readonly<Record<ProgramName, string>>

/** Those of a folder that `bundle.ts` has filled, else the sources, which take three times as long to load. */
export function childPrograms(folder?: string): ChildPrograms {
  if (folder === undefined) return sources
  return { openapi: join(folder, 'openapi.js'), code: join(folder, 'code.js') }
}
