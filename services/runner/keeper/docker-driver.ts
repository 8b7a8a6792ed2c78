/** The Docker driver: a container of the engine for each sandbox. Only the keeper reaches the engine's socket. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { errorFrom } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import { type SandboxClass, slotDirectory } from '../sandbox/sandbox-limits.ts'
import { containerSpec, KEEPER_LABEL, STACK_LABEL, USUAL_SHARES } from './docker.ts'
import { type DockerEngine, dockerEngine, EngineFault } from './docker-engine.ts'
import { openImage } from './docker-image.ts'
import type { Driver, DriverOptions, SandboxEnding, StartedSandbox } from './driver.ts'
import { probeDocker } from './probe.ts'
import type { SlotOwners } from './slots.ts'
import { processUsedMs } from './used-time.ts'

type Parts = {
  engine: DockerEngine
  /** Names this stack's containers and image; no other stack has it. */
  stack: string
  image: string
  owners: SlotOwners
  runtime: string | undefined
  log: Log
}

const NOT_FOUND = 404
const CONFLICT = 409
/** Nobody has fewer. */
const LEAST_SHARES = 2
/** While the name is taken by a sandbox of this stack that is on its way out. */
const CREATE_TRIES = 20
const CREATE_PAUSE_MS = 50
/** What a shell, and docker, make of the end by SIGKILL. */
const KILLED_EXIT_CODE = 137

/** Throws a sentence where it does not work on this machine. What an earlier keeper left is gone when it resolves. */
export async function openDockerDriver({
  config,
  makeRootfs,
  log,
}: DriverOptions): Promise<Driver> {
  const { owners, cgroup: stack, dockerSocket: socket, dockerRuntime: runtime } = config
  const probe = await probeDocker(socket, runtime)
  if (!probe.ok) throw new Error(probe.reason)
  const engine = dockerEngine(socket)
  const swept = await sweepContainers(engine, [`${STACK_LABEL}=${stack}`])
  if (swept > 0) log.warn({ swept }, 'an earlier keeper left sandboxes: they are gone now')
  const image = await openImage(engine, stack, await makeRootfs())
  const keeper = crypto.randomUUID()
  const reaper = startReaper(socket, keeper)
  const labels = { [STACK_LABEL]: stack, [KEEPER_LABEL]: keeper }
  const parts: Parts = { engine, stack, image, owners, runtime, log }
  return {
    name: 'docker',
    start: (slot, sandboxClass) => start(parts, slot, sandboxClass, labels),
    async close() {
      reaper.kill('SIGKILL')
      await engine
        .removeImage(image)
        .catch((error) => log.warn({ err: errorFrom(error) }, 'the image could not be removed'))
    },
  }
}

async function start(
  parts: Parts,
  slot: number,
  sandboxClass: SandboxClass,
  labels: Record<string, string>,
): Promise<StartedSandbox> {
  const { engine } = parts
  const id = await create(parts, slot, sandboxClass, labels)
  try {
    await engine.start(id)
    const { pid, uid } = await engine.inspect(id)
    return follow(parts, slot, id, guestProcess(pid, uid))
  } catch (error) {
    await removeLate(parts, id)
    throw error
  }
}

/** Ends and removes all containers with these labels; answers how many there were. */
export async function sweepContainers(
  engine: DockerEngine,
  labels: readonly string[],
): Promise<number> {
  const found = await engine.list(labels)
  await Promise.all(found.map(({ id }) => endContainer(engine, id)))
  return found.length
}

/**
 * Ends and removes one, wherever it stands; it need not be there. By its process id first: an engine takes a process
 * whose first thread has exited for dead, and would leave the others running.
 */
async function endContainer(engine: DockerEngine, id: string): Promise<void> {
  try {
    const { running, pid, uid } = await engine.inspect(id)
    if (running) guestProcess(pid, uid).kill()
  } catch (error) {
    if (error instanceof EngineFault && error.status === NOT_FOUND) return
    throw error
  }
  await engine.remove(id)
}

/** Ends a sandbox of this stack that could not be removed while the engine was away; never what else has its name. */
async function endOwn(engine: DockerEngine, name: string, stack: string): Promise<void> {
  try {
    const { id, labels } = await engine.inspect(name)
    if (labels[STACK_LABEL] === stack) return await endContainer(engine, id)
  } catch (error) {
    if (error instanceof EngineFault && error.status === NOT_FOUND) return
    throw error
  }
  throw new EngineFault(
    `The container ${name} is not a sandbox of this stack and has the name of one: remove or rename it, then try again.`,
    CONFLICT,
  )
}

/**
 * The engine does not end containers with their keeper. So a shell waits for the end of a pipe, which comes however
 * the keeper dies, then sweeps what this keeper has started.
 */
function startReaper(socket: string, keeper: string) {
  const main = join(import.meta.dirname, 'docker-reaper.ts')
  const sweeping = [process.execPath, '--no-env-file', '--no-install', main, socket, keeper]
  return Bun.spawn(['sh', '-c', 'cat > /dev/null; exec "$@"', 'keeper', ...sweeping], {
    ...{ cwd: '/', env: {}, detached: true },
    stdio: ['pipe', 'ignore', 'ignore'],
  })
}

async function create(
  parts: Parts,
  slot: number,
  sandboxClass: SandboxClass,
  labels: Record<string, string>,
): Promise<string> {
  const { engine, owners, stack } = parts
  const spec = containerSpec({
    ...{ sandboxClass, labels, image: parts.image, uid: owners.slotUidBase + slot },
    callsDirectory: slotDirectory(owners.slotsDir, slot, 'c'),
    egressDirectory: slotDirectory(owners.slotsDir, slot, 'e'),
    ...(parts.runtime === undefined ? {} : { runtime: parts.runtime }),
  })
  const name = `${stack}-${slot}`
  for (let tries = 1; ; tries++) {
    try {
      return await engine.create(name, spec)
    } catch (error) {
      const isTaken = error instanceof EngineFault && error.status === CONFLICT
      if (!isTaken || tries === CREATE_TRIES) throw error
      await endOwn(engine, name, stack)
      // An engine that is removing it already says so, and has the name for a moment longer.
      if (tries > 1) await Bun.sleep(CREATE_PAUSE_MS)
    }
  }
}

function follow(parts: Parts, slot: number, id: string, process: GuestProcess): StartedSandbox {
  const { engine, log } = parts
  return {
    pid: process.pid,
    kill() {
      if (process.kill()) return
      engine
        .kill(id)
        .catch((error) => log.warn({ err: errorFrom(error), slot }, 'a sandbox was not ended'))
    },
    usedMs: () => processUsedMs(process.pid),
    limit: (cpuQuotaUs) => engine.limitCpu(id, cpuQuotaUs),
    stand: (isBehind) => engine.weighCpu(id, isBehind ? LEAST_SHARES : USUAL_SHARES),
    gone: settle(parts, id, process),
  }
}

async function settle(parts: Parts, id: string, process: GuestProcess): Promise<SandboxEnding> {
  const { engine } = parts
  try {
    await engine.ended(id)
    const { running, exitCode, oomKilled, error } = await engine.inspect(id)
    if (running) throw new Error('the engine says that it has ended and that it runs')
    const killed = exitCode === KILLED_EXIT_CODE
    const reason = oomKilled ? 'oom' : killed ? 'killed' : 'exited'
    const status = killed ? 'SIGKILL' : `exit code ${exitCode}`
    return { reason, detail: `${status} ${error}`.trim() }
  } catch {
    // What can be neither watched nor stopped must not go on.
    process.kill()
    return { reason: 'killed', detail: 'the container engine is gone' }
  } finally {
    await removeLate(parts, id)
  }
}

/** Where the engine cannot do it now, the next start in the slot or the next keeper does. */
async function removeLate({ engine, log }: Parts, id: string): Promise<void> {
  await endContainer(engine, id).catch((error) =>
    log.warn({ err: errorFrom(error) }, 'a container could not be removed'),
  )
}

type GuestProcess = {
  pid: number
  /** False where it is not to be seen from here, or gone. */
  kill(): boolean
}

/** The engine may count processes in another namespace: only one that is the slot's user's is ever signalled. */
function guestProcess(pid: number, uid: number): GuestProcess {
  const startedAt = startOf(pid, uid)
  return {
    pid,
    kill() {
      if (startedAt === undefined || startOf(pid, uid) !== startedAt) return false
      try {
        return process.kill(pid, 'SIGKILL')
      } catch {
        return false
      }
    },
  }
}

/** When a process of this user started, in ticks since boot; undefined when there is none by that id. */
function startOf(pid: number, uid: number): string | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    if (!new RegExp(`^Uid:\\s+${uid}\\s`, 'm').test(status)) return undefined
    // Field 22; the name before it may hold anything, and ends at the last parenthesis.
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[19]
  } catch {
    return undefined
  }
}
