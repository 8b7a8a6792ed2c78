/** The one command line of a sandbox by bubblewrap, from the list of limits. */
import {
  bunFlags,
  coveredProcFiles,
  SANDBOX_HOSTNAME,
  sandboxLimits,
  sandboxPaths,
} from '../sandbox/sandbox-limits.ts'

/** Absolute paths of the programs that a start runs as root. */
export type Programs = {
  sh: string
  env: string
  setpriv: string
  bwrap: string
  /** Set where a start must mount a /proc of its own first: see `withCleanProc`. */
  unshare?: string
}

export type Launch = {
  programs: Programs
  rootfs: string
  /** File with the stage-one filter. */
  seccompFile: string
  /** uid and gid of the slot. */
  uid: number
  cgroupJoinFiles: readonly string[]
  callsDirectory: string
  egressDirectory: string
}

const ULIMIT_FILE_BLOCK_BYTES = 512

/**
 * Joins the groups, lowers the limits, opens the filter, then becomes the sandbox. Everything that varies is an
 * argument, never text of the script.
 */
const script = `
joins=$1 files=$2 blocks=$3 core=$4 filter=$5
shift 5
for join in $joins; do echo $$ > "$join" || exit 9; done
ulimit -n "$files" && ulimit -f "$blocks" && ulimit -c "$core" || exit 9
exec 9< "$filter" || exit 9
exec "$@"
`

/**
 * A container often covers parts of /proc; the kernel then refuses a new /proc in a user namespace, because that would
 * show what is covered. With a whole one in the mount namespace it agrees. Nothing of it is seen outside the command.
 */
export function withCleanProc(
  programs: Programs & { unshare: string },
  command: string[],
): string[] {
  const mount = 'mount -t proc proc /proc && exec "$@"'
  const { unshare, sh } = programs
  return [unshare, '--mount', '--propagation', 'private', sh, '-c', mount, 'proc', ...command]
}

/** The uid is dropped before bubblewrap runs, and `env -i` stands in front of it: pid 1's environment would show ours. */
export function launchCommand(launch: Launch): string[] {
  const { programs } = launch
  const command = sandboxCommand(launch)
  const { unshare } = programs
  return unshare === undefined ? command : withCleanProc({ ...programs, unshare }, command)
}

function sandboxCommand(launch: Launch): string[] {
  const { programs, uid } = launch
  const id = String(uid)
  return [
    ...[programs.sh, '-c', script, 'start', launch.cgroupJoinFiles.join(' ')],
    String(sandboxLimits.openFiles),
    String(sandboxLimits.fileBytes / ULIMIT_FILE_BLOCK_BYTES),
    String(sandboxLimits.coreBytes),
    launch.seccompFile,
    ...[programs.env, '-i', programs.setpriv],
    ...['--reuid', id, '--regid', id, '--clear-groups', '--no-new-privs'],
    ...['--inh-caps=-all', '--bounding-set=-all', '--'],
    programs.bwrap,
    ...[
      '--unshare-all',
      '--unshare-user',
      '--disable-userns',
      '--die-with-parent',
      '--new-session',
      // A reaper would be a process of the same user without the guest's second filter.
      '--as-pid-1',
    ],
    ...['--clearenv', '--hostname', SANDBOX_HOSTNAME, '--cap-drop', 'ALL'],
    ...[
      '--ro-bind',
      launch.rootfs,
      '/',
      '--proc',
      '/proc',
      '--dev',
      '/dev',
      '--remount-ro',
      '/dev',
    ],
    // A device cannot be opened there, so reading is refused.
    ...coveredProcFiles.flatMap((file) => ['--ro-bind', '/dev/null', file]),
    ...['--ro-bind', launch.callsDirectory, sandboxPaths.calls],
    ...['--ro-bind', launch.egressDirectory, sandboxPaths.egress],
    ...['--remount-ro', '/', '--chdir', sandboxPaths.workDir, '--seccomp', '9', '--'],
    ...[sandboxPaths.bun, ...bunFlags, sandboxPaths.guest],
  ]
}
