/** What there is to measure, by the names that the command takes. */

import type { Platform } from '@bmm/tests/platform'
import { measureBurst } from './burst.ts'
import { measureCallPath } from './call-path.ts'
import { measureDirectory } from './directory.ts'
import { measureFidelity } from './fidelity.ts'
import type { Figure } from './figure.ts'
import { measureFirstCall } from './first-call.ts'
import { measureGithub } from './github.ts'
import { measureIsolation } from './isolation.ts'
import { measureLatency } from './latency.ts'
import { measureSleepers } from './sleepers.ts'
import { measureSandboxes, measureWakes } from './wake.ts'

export const measures: Record<string, (platform: Platform) => Promise<Figure[]>> = {
  calls: measureCallPath,
  latency: measureLatency,
  wake: measureWakes,
  burst: measureBurst,
  sandbox: measureSandboxes,
  github: measureGithub,
  first: measureFirstCall,
  directory: measureDirectory,
  fidelity: measureFidelity,
  isolation: measureIsolation,
  sleepers: measureSleepers,
}
