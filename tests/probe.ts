/** Trying as another user of the machine what a taken-over process would try. */
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'

export type Attempts = {
  /** Files whose first byte is wanted, and folders whose names are. */
  read?: string[]
  /** Sockets to connect to. */
  connect?: string[]
  /** Sockets whose other side is to leave the connection open. */
  keep?: string[]
  /** Folders to put a file into. */
  write?: string[]
  /** Processes to signal. */
  signal?: number[]
}

export type Prober = Disposable & {
  /** What succeeded, of all that was tried, as `read /path`. */
  succeeds(as: { user: number; group: number }, attempts: Attempts): string[]
}

/** A connection that the other side has not closed by then is one. */
const KEPT_MS = 5_000

/** The program that makes the attempts. It says what went well, and that it got to its end. */
const program = `
  const fs = require('node:fs')
  const net = require('node:net')
  const attempts = JSON.parse(process.argv[1])
  const done = []
  const attempt = (what, act) => { try { act(); done.push(what) } catch {} }
  for (const path of attempts.read ?? []) attempt('read ' + path, () => {
    if (fs.statSync(path).isDirectory()) return fs.readdirSync(path)
    fs.readSync(fs.openSync(path, 'r'), Buffer.alloc(1))
  })
  for (const path of attempts.write ?? []) attempt('write ' + path, () => fs.writeFileSync(path + '/probe', ''))
  for (const pid of attempts.signal ?? []) attempt('signal ' + pid, () => process.kill(pid, 0))
  await Promise.all((attempts.connect ?? []).map((path) => new Promise((resolve) => {
    const socket = net.connect(path, () => { done.push('connect ' + path); socket.destroy(); resolve() })
    socket.on('error', resolve)
  })))
  await Promise.all((attempts.keep ?? []).map((path) => new Promise((resolve) => {
    const socket = net.connect(path, () => {
      setTimeout(() => { done.push('keep ' + path); socket.destroy(); resolve() }, ${KEPT_MS}).unref()
    })
    socket.on('data', () => {})
    socket.on('error', resolve)
    socket.on('close', resolve)
  })))
  console.log(JSON.stringify(done))
`

/** Copies the program that runs the attempts to where every user can run it. */
export function openProber(): Prober {
  const folder = mkdtempSync(join(tmpdir(), 'bmm-probe-'))
  chmodSync(folder, 0o755)
  const bun = join(folder, 'bun')
  copyFileSync(process.execPath, bun)
  chmodSync(bun, 0o755)
  return {
    succeeds({ user, group }, attempts) {
      const child = Bun.spawnSync(
        [
          ...['setpriv', '--reuid', String(user), '--regid', String(group), '--clear-groups'],
          ...['--no-new-privs', '--inh-caps=-all', '--bounding-set=-all'],
          ...[bun, '-e', program, JSON.stringify(attempts)],
        ],
        { cwd: '/', env: {}, stdin: 'ignore' },
      )
      const said = child.stdout.toString()
      if (child.exitCode !== 0) throw new Error(`the probe failed: ${child.stderr}${said}`)
      return z.array(z.string()).parse(JSON.parse(said))
    },
    [Symbol.dispose]() {
      rmSync(folder, { recursive: true })
    },
  }
}
