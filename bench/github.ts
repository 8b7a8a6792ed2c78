/** GitHub's document, over a thousand operations: how long until its draft is there, and in how much memory. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Platform } from '@bmm/tests/platform'
import { type Figure, median } from './figure.ts'
import { childrenOfService, peakBytes } from './processor-time.ts'

const ROUNDS = 3
const WATCH_MS = 5
const heavy = join(import.meta.dir, 'heavy')
const document = join(heavy, 'node_modules/@octokit/openapi/generated/api.github.com.json')

/** Installs the document first where it is missing: 400 MB, which the product itself does not need. */
export async function measureGithub(platform: Platform): Promise<Figure[]> {
  await install()
  const text = readFileSync(document, 'utf8')
  const took: number[] = []
  const peaks: number[] = []
  let tools = 0
  for (let round = 0; round < ROUNDS; round++) {
    const watch = watchChildren(platform)
    const begun = performance.now()
    tools = (await platform.draft({ document: text })).tools
    took.push(performance.now() - begun)
    peaks.push(watch.stop())
  }
  return [
    {
      what: `GitHub's document (${(text.length / 1e6).toFixed(0)} MB, ${tools} tools) to a draft`,
      value: `${(median(took) / 1_000).toFixed(2)} s`,
      target: '≤ 3 s',
    },
    {
      what: 'the same: most memory of a child that reads it',
      value: `${Math.round(Math.max(...peaks) / 1e6)} MB`,
      target: '≤ 400 MB',
    },
  ]
}

/** The largest peak of any child that the generator has while this watches. */
function watchChildren({ stack }: Platform) {
  let peak = 0
  const look = () => {
    for (const pid of childrenOfService(stack, 'services/generator/main.ts')) {
      peak = Math.max(peak, peakBytes(pid))
    }
  }
  const timer = setInterval(look, WATCH_MS)
  return {
    stop() {
      clearInterval(timer)
      return peak
    },
  }
}

async function install(): Promise<void> {
  if (existsSync(document)) return
  if (Bun.env.BMM_NO_INSTALL === '1') {
    throw new Error(
      '@octokit/openapi is missing in bench/heavy, and BMM_NO_INSTALL=1 forbids installing',
    )
  }
  process.stderr.write('installing @octokit/openapi into bench/heavy\n')
  const child = Bun.spawn([process.execPath, 'install', '--frozen-lockfile'], {
    cwd: heavy,
    stdout: 'ignore',
    stderr: 'inherit',
  })
  if ((await child.exited) !== 0) throw new Error('bench/heavy could not be installed')
}
