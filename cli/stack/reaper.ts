/** What comes after a supervisor that was killed: its sockets and cgroups are removed, as it could not do itself. */
import { findStackPaths } from './paths.ts'
import { sweepUnused } from './sweep.ts'

const paths = findStackPaths(process.argv[2] ?? '')
if (paths !== undefined) await sweepUnused(paths)
process.exit()
