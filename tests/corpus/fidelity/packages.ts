/** The packages of the corpus that have no types here: loaded by name, each with what is used of it. */
import { createRequire } from 'node:module'
import { join } from 'node:path'

const require = createRequire(join(import.meta.dir, '../package.json'))

/** The module's type is what its package says. */
export function load<Module>(name: string): Module {
  return require(name)
}
