/** The command line that starts a process with little: its own user, no capabilities, only the folders it needs. */

/** Makes one folder (or file) of the host visible at another path, for this process only. */
export type Bind = { from: string; to: string; writable?: boolean }

export type Confinement = {
  user: number
  group: number
  binds: Bind[]
}

/** A clone in /root is closed to other users: what they need is mounted elsewhere, in a namespace of their own. */
const bindAndExec = `
while [ "$1" != -- ]; do
  mount --bind -o "$1" "$2" "$3" || exit 70
  shift 3
done
shift
exec "$@"`

/**
 * Runs the command as the user, without any way back to root. SIGKILL reaches it when its parent dies,
 * so that a killed supervisor leaves nothing behind.
 */
export function confined(command: string[], { user, group, binds }: Confinement): string[] {
  const mounts = binds.flatMap(({ from, to, writable }) => [
    writable === true ? 'rw' : 'ro',
    from,
    to,
  ])
  return [
    ...['unshare', '--mount', '--propagation', 'private'],
    ...['sh', '-c', bindAndExec, 'bmm', ...mounts, '--'],
    ...['setpriv', '--pdeathsig', 'SIGKILL'],
    ...['--reuid', String(user), '--regid', String(group), '--clear-groups'],
    ...['--no-new-privs', '--inh-caps=-all', '--bounding-set=-all'],
    ...command,
  ]
}

/**
 * For those that every call waits for: they get a processor before sandboxes and strangers. A kernel that groups by
 * session compares sessions by a file of its own. Where neither is permitted the command runs as any other.
 */
const aheadAndExec = `
if [ -e /proc/self/autogroup ]; then echo -10 > /proc/self/autogroup; fi
exec nice -n -10 "$@"`

/** Runs the command, still as root, ahead of others that want a processor. */
export function ahead(command: string[]): string[] {
  return ['sh', '-c', aheadAndExec, 'bmm', ...command]
}

/** Runs the command as root, to be killed when its parent dies. */
export function dyingWithParent(command: string[]): string[] {
  return ['setpriv', '--pdeathsig', 'SIGKILL', ...command]
}
