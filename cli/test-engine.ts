/** The Docker engine that one run of the tests uses: the one that answers on this machine, else one of its own. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs'
import { join } from 'node:path'
import { checkout, environment } from './config.ts'
import { type Child, type ChildSpec, keepRunning, StartFault } from './stack/child.ts'
import { dyingWithParent } from './stack/confine.ts'
import { unpackPrograms } from './stack/install.ts'
import { tryLock } from './stack/lock.ts'
import { stateRoot } from './stack/paths.ts'

const SYSTEM_SOCKET = '/var/run/docker.sock'
const PREFIX = 'test-engine-'
const READY_TIMEOUT_MS = 30_000
const STOP_TIMEOUT_MS = 15_000
const PING_TIMEOUT_MS = 1_000
/** The first works nearly everywhere; the second copies whole root file systems, which works everywhere. */
const STORAGE_DRIVERS = ['overlay2', 'vfs']
const programs = { names: ['dockerd'], debian: 'docker.io', purpose: 'tests of the docker driver' }

export type TestEngine = AsyncDisposable & {
  socket: string
  /** The PATH on which its programs are. */
  path: string
}

/** Where tests run sandboxes by Docker, too: folders and files of the checkout. */
const engineTests: readonly string[] = [
  'services/runner/keeper',
  'services/runner/limits.test.ts',
  'services/runner/main.test.ts',
  'services/runner/runner.test.ts',
  'services/runner/sandbox',
  'tests/docker.journey.test.ts',
  'tests/hostile',
  'tests/walk.journey.test.ts',
]

/** Whether a test file runs sandboxes by Docker. */
export function needsEngine(files: readonly string[]): boolean {
  return files.some((file) =>
    engineTests.some((place) => file === place || file.startsWith(`${place}/`)),
  )
}

/** Disposing stops what was started and removes its folder. Nothing is ever pulled. */
export async function openTestEngine(say: (line: string) => void): Promise<TestEngine> {
  if (await answers(SYSTEM_SOCKET)) {
    const path = environment().PATH ?? ''
    return { socket: SYSTEM_SOCKET, path, async [Symbol.asyncDispose]() {} }
  }
  await removeStale()
  const path = await unpackPrograms(programs, join(checkout, '.bun', 'docker'), say)
  mkdirSync(stateRoot, { recursive: true, mode: 0o755 })
  const folder = mkdtempSync(join(stateRoot, PREFIX))
  chmodSync(folder, 0o700)
  const lock = tryLock(lockFile(folder))
  const socket = join(folder, 'docker.sock')
  let engine: Child | undefined
  const close = async () => {
    await engine?.stop()
    await killUsersOf(folder)
    rmSync(folder, { recursive: true, force: true })
    lock?.[Symbol.dispose]()
  }
  for (const storage of STORAGE_DRIVERS) {
    engine = keepRunning(engineSpec(folder, socket, storage, path), join(folder, 'logs'), () => {})
    try {
      await engine.firstReady
      return { socket, path: path.PATH, [Symbol.asyncDispose]: close }
    } catch (error) {
      if (storage === STORAGE_DRIVERS.at(-1) || !(error instanceof StartFault)) {
        await close()
        throw error
      }
      await engine.stop()
    }
  }
  throw new Error('there is no storage driver to try')
}

/** Its mounts are in a namespace of its own, so that they end with it however it ends. */
function engineSpec(
  folder: string,
  socket: string,
  storage: string,
  path: { PATH: string; LD_LIBRARY_PATH?: string },
): ChildSpec {
  return {
    name: 'dockerd',
    command: dyingWithParent([
      ...['unshare', '--mount', '--propagation', 'slave', 'dockerd'],
      ...['--host', `unix://${socket}`, '--pidfile', join(folder, 'pid')],
      ...['--data-root', join(folder, storage), '--exec-root', join(folder, 'exec')],
      ...['--storage-driver', storage, '--bridge=none', '--iptables=false', '--ip6tables=false'],
      ...['--ip-forward=false', '--ip-masq=false'],
    ]),
    env: { ...path, HOME: '/' },
    cwd: '/',
    files: [],
    fault: async () => ((await answers(socket)) ? undefined : 'it does not answer'),
    readyTimeoutMs: READY_TIMEOUT_MS,
    stopSignal: 'SIGTERM',
    stopTimeoutMs: STOP_TIMEOUT_MS,
  }
}

async function answers(socket: string): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(PING_TIMEOUT_MS)
    const answer = await fetch('http://docker/_ping', { unix: socket, keepalive: false, signal })
    return answer.ok
  } catch {
    return false
  }
}

/** A killed run leaves its folder, and the processes that watch over containers. */
async function removeStale(): Promise<void> {
  if (!existsSync(stateRoot)) return
  for (const name of readdirSync(stateRoot)) {
    const folder = join(stateRoot, name)
    if (!name.startsWith(PREFIX) || !existsSync(lockFile(folder))) continue
    using lock = tryLock(lockFile(folder))
    if (lock === undefined) continue
    await killUsersOf(folder)
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Ends every process whose command line names the folder. */
async function killUsersOf(folder: string): Promise<void> {
  const users = () =>
    readdirSync('/proc').filter(
      (pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid && namesFolder(pid, folder),
    )
  for (let tries = 0; tries < 100; tries++) {
    const found = users()
    if (found.length === 0) return
    for (const pid of found) {
      try {
        process.kill(Number(pid), 'SIGKILL')
      } catch {
        // It ended by itself in between.
      }
    }
    await Bun.sleep(20)
  }
}

function namesFolder(pid: string, folder: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${folder}/`)
  } catch {
    return false
  }
}

function lockFile(folder: string): string {
  return join(folder, 'lock')
}
