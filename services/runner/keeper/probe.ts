/** Whether sandboxes by bubblewrap or by Docker work on this machine, and why not: tried, not guessed. */
import { type Programs, withCleanProc } from './bwrap.ts'
import { NoCgroups, openCgroups } from './cgroups.ts'
import { dockerEngine, EngineFault } from './docker-engine.ts'

export type ProbeResult =
  | { ok: true; detail: string; programs: Programs }
  | { ok: false; reason: string }

const MINIMUM_VERSION = [0, 8] as const
const PROBE_UID = '65534'
const PROBE_TIMEOUT_MS = 10_000

/** Throws one sentence that names what is missing. */
function findProgram(name: string, from: string): string {
  const path = Bun.which(name, { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin' })
  if (!path) throw new Error(`${name} is not installed (Debian: apt-get install ${from})`)
  return path
}

/** One sentence for people either way, and the programs that a start needs. Leaves nothing behind. */
export async function probeBwrap(): Promise<ProbeResult> {
  if (process.getuid?.() !== 0) {
    return {
      ok: false,
      reason: 'Sandboxes by bubblewrap are started as root; this is another user.',
    }
  }
  try {
    const programs: Programs = {
      sh: findProgram('sh', 'dash'),
      env: findProgram('env', 'coreutils'),
      setpriv: findProgram('setpriv', 'util-linux'),
      bwrap: findProgram('bwrap', 'bubblewrap'),
    }
    const version = await run([programs.bwrap, '--version'])
    if (!isRecent(version.text)) {
      return { ok: false, reason: `bubblewrap 0.8 or newer is needed; this is ${version.text}.` }
    }
    const cgroups = openCgroups(`bmm-probe-${process.pid}`)
    cgroups.remove()
    const detail = `${version.text}, control groups version ${cgroups.version}`
    const plain = await run(trial(programs))
    if (plain.code === 0) return { ok: true, detail, programs }
    const unshare = findProgram('unshare', 'util-linux')
    const clean = await run(withCleanProc({ ...programs, unshare }, trial(programs)))
    if (clean.code === 0) return { ok: true, detail, programs: { ...programs, unshare } }
    const why = `bubblewrap cannot make a sandbox here: ${plain.text}`
    return { ok: false, reason: `${why} (are unprivileged user namespaces switched off?)` }
  } catch (error) {
    if (error instanceof NoCgroups) return { ok: false, reason: error.message }
    return { ok: false, reason: error instanceof Error ? `${error.message}.` : String(error) }
  }
}

/** As probeBwrap, for the engine that answers at the socket; starts nothing there. */
export async function probeDocker(
  socket: string,
  runtime: string | undefined,
): Promise<{ ok: true; detail: string } | { ok: false; reason: string }> {
  const refused = (reason: string) => ({ ok: false, reason }) as const
  if (process.getuid?.() !== 0) {
    return refused('Slots of sandboxes are made as root; this is another user.')
  }
  try {
    const { version, linux, missing, rootless, runtimes } = await dockerEngine(socket).info()
    const who = `Docker ${version} at unix://${socket}`
    if (!linux) return refused(`${who} does not run Linux containers.`)
    if (rootless) return refused(`${who} is rootless: its users are not those of the slots.`)
    if (missing.length > 0) return refused(`${who} cannot enforce ${missing.join(', ')}.`)
    if (runtime !== undefined && !runtimes.includes(runtime)) {
      const known = runtimes.join(', ')
      return refused(`${who} has no runtime ${runtime} (BMM_DOCKER_RUNTIME); it has ${known}.`)
    }
    return { ok: true, detail: runtime === undefined ? who : `${who}, runtime ${runtime}` }
  } catch (error) {
    if (error instanceof EngineFault) return refused(error.message)
    return refused(`What answers at unix://${socket} is no Docker engine.`)
  }
}

/** The flags that fail on machines that forbid namespaces, around a command that does nothing. */
function trial({ setpriv, bwrap, sh }: Programs): string[] {
  return [
    ...[
      setpriv,
      '--reuid',
      PROBE_UID,
      '--regid',
      PROBE_UID,
      '--clear-groups',
      '--no-new-privs',
      '--',
    ],
    ...[
      bwrap,
      '--unshare-all',
      '--unshare-user',
      '--disable-userns',
      '--die-with-parent',
      '--new-session',
    ],
    ...[
      '--cap-drop',
      'ALL',
      '--ro-bind',
      '/',
      '/',
      '--proc',
      '/proc',
      '--dev',
      '/dev',
      '--remount-ro',
      '/dev',
    ],
    ...['--', sh, '-c', 'exit 0'],
  ]
}

function isRecent(text: string): boolean {
  const [, major = 0, minor = 0] = (/(\d+)\.(\d+)/.exec(text) ?? []).map(Number)
  return major > MINIMUM_VERSION[0] || (major === MINIMUM_VERSION[0] && minor >= MINIMUM_VERSION[1])
}

async function run(command: string[]): Promise<{ code: number; text: string }> {
  const child = Bun.spawn(command, {
    ...{ stdin: 'ignore', stdout: 'pipe', stderr: 'pipe', cwd: '/', env: {} },
    timeout: PROBE_TIMEOUT_MS,
  })
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ])
  return { code: await child.exited, text: `${out}${err}`.trim() }
}
