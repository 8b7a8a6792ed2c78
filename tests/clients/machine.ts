/** The computer that a client runs on: a home of its own, the Node that clients ask for, and a person at the browser. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { openBrowser } from '../browser.ts'
import { authorize } from '../mcp-client.ts'
import type { Stack } from '../stack.ts'

const here = import.meta.dir
const RUN_TIMEOUT_MS = 60_000
const POLL_MS = 25

export type Run = {
  code: number | null
  stdout: string
  stderr: string
  /** What the client showed the person, oldest first. */
  opened: URL[]
}

/** `away`: nothing opens a browser. */
export type Person = 'allows' | 'away'

export type Machine = Disposable & {
  home: string
  run(words: readonly string[], person?: Person): Promise<Run>
  start(words: readonly string[], person?: Person): Running
}

export type Running = AsyncDisposable & {
  child: Bun.Subprocess<'pipe', 'pipe', 'pipe'>
  opened: URL[]
  ended: Promise<Run>
}

/** Programs on PATH by their names: the clients of this package, Node 24, and what Debian has. */
export function openMachine(stack: Stack, email: string): Machine {
  const home = mkdtempSync(join(tmpdir(), 'bmm-client-'))
  const browser = openBrowser(stack.gateway)
  const addresses = join(home, 'addresses')
  const bin = join(home, 'bin')
  mkdirSync(bin)
  // Programs open a browser by one of these names; this one leaves the address for the person.
  for (const name of ['xdg-open', 'sensible-browser', 'x-www-browser', 'browser']) {
    const opener = join(bin, name)
    writeFileSync(opener, `#!/bin/sh\ntest "$PERSON" = allows && echo "$1" >> "${addresses}"\n`)
    chmodSync(opener, 0o755)
  }

  function start(words: readonly string[], person: Person = 'allows'): Running {
    rmSync(addresses, { force: true })
    const child = Bun.spawn([...words], {
      cwd: home,
      env: environment(home, bin, person),
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: RUN_TIMEOUT_MS,
    })
    const opened: URL[] = []
    const attended = attend(opened)
    const printed = [new Response(child.stdout).text(), new Response(child.stderr).text()]
    const ended = Promise.all([...printed, attended]).then(([stdout = '', stderr = '']) => ({
      code: child.exitCode,
      ...{ stdout: String(stdout), stderr: String(stderr), opened },
    }))

    /** The person's part, each time that the client opens the browser. */
    async function attend(seen: URL[]): Promise<void> {
      while (child.exitCode === null && child.signalCode === null) {
        const lines = existsSync(addresses) ? readFileSync(addresses, 'utf8').split('\n') : ['']
        for (const line of lines.slice(seen.length, -1)) {
          seen.push(new URL(line))
          const { callback } = await authorize(stack, line, email, browser)
          await fetch(callback)
        }
        await Bun.sleep(POLL_MS)
      }
    }

    return {
      ...{ child, opened, ended },
      async [Symbol.asyncDispose]() {
        child.kill()
        await ended
      },
    }
  }

  return {
    home,
    start,
    run: (words, person) => {
      const { child, ended } = start(words, person)
      child.stdin.end()
      return ended
    },
    [Symbol.dispose]: () => rmSync(home, { recursive: true, force: true }),
  }
}

/** Nothing of the tester's own, and no way out of this machine: what a client wants to report goes nowhere. */
function environment(home: string, bin: string, person: Person): Record<string, string> {
  const nowhere = 'http://127.0.0.1:9'
  return {
    HOME: home,
    PATH: [bin, nodeFolder(), join(here, 'node_modules/.bin'), '/usr/bin', '/bin'].join(delimiter),
    PERSON: person,
    BROWSER: 'browser',
    LANG: 'C.UTF-8',
    ...{ HTTP_PROXY: nowhere, HTTPS_PROXY: nowhere, NO_PROXY: 'localhost,127.0.0.1,::1' },
    DISABLE_TELEMETRY: '1',
    DISABLE_ERROR_REPORTING: '1',
    DISABLE_AUTOUPDATER: '1',
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
  }
}

function nodeFolder(): string {
  const modules = join(here, 'node_modules')
  const found = existsSync(modules)
    ? readdirSync(modules).find((name) => name.startsWith('node-linux-'))
    : undefined
  if (found === undefined) {
    throw new Error('the clients are not installed: ./bmm test tests/clients does that')
  }
  return join(modules, found, 'bin')
}
