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
const LANDING_PAUSES_MS = [100, 400, 1_000, 3_000]
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
}

/** Programs on PATH by their names: the clients of this package, Node 24, and what Debian has. */
export function openMachine(stack: Stack, email: string): Machine {
  const home = mkdtempSync(join(tmpdir(), 'bmm-client-'))
  const browser = openBrowser(stack.gateway)
  const addresses = join(home, 'addresses')
  const away = join(home, 'away')
  const bin = join(home, 'bin')
  mkdirSync(bin)
  mkdirSync(join(home, 'tmp'))
  // Programs open a browser by one of these names; this one leaves the address for the person.
  for (const name of ['xdg-open', 'www-browser']) {
    const opener = join(bin, name)
    writeFileSync(opener, `#!/bin/sh\ntest ! -e "${away}" && echo "$1" >> "${addresses}"\n`)
    chmodSync(opener, 0o755)
  }

  /** The person's part, each time that the client opens the browser. */
  async function attend(child: Bun.Subprocess, opened: URL[]): Promise<void> {
    while (child.exitCode === null && child.signalCode === null) {
      const lines = existsSync(addresses) ? readFileSync(addresses, 'utf8').split('\n') : []
      for (const line of lines.slice(opened.length, -1)) {
        opened.push(new URL(line))
        const { callback } = await authorize(stack, line, email, browser)
        await landOn(callback)
      }
      await Bun.sleep(POLL_MS)
    }
  }

  /** A person is slower than this: some clients listen only after they have opened the browser. */
  async function landOn(callback: string | URL): Promise<void> {
    for (const pauseMs of LANDING_PAUSES_MS) {
      const landed = await fetch(callback).catch(() => undefined)
      if (landed !== undefined) return
      await Bun.sleep(pauseMs)
    }
    await fetch(callback)
  }

  return {
    home,
    async run(words, person = 'allows') {
      rmSync(addresses, { force: true })
      if (person === 'away') writeFileSync(away, '')
      else rmSync(away, { force: true })
      const child = Bun.spawn([...words], {
        cwd: home,
        env: environment(home, bin),
        stdio: ['ignore', 'pipe', 'pipe'],
        timeout: RUN_TIMEOUT_MS,
      })
      const opened: URL[] = []
      const [stdout, stderr] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
        attend(child, opened),
      ])
      return { code: child.exitCode, stdout, stderr, opened }
    },
    [Symbol.dispose]: () => rmSync(home, { recursive: true, force: true }),
  }
}

/** Nothing of the tester's own, and no way out of this machine: what a client wants to report goes nowhere. */
function environment(home: string, bin: string): Record<string, string> {
  const nowhere = 'http://127.0.0.1:9'
  return {
    HOME: home,
    TMPDIR: join(home, 'tmp'),
    PATH: [bin, nodeFolder(), join(here, 'node_modules/.bin'), '/usr/bin', '/bin'].join(delimiter),
    BROWSER: 'xdg-open',
    LANG: 'C.UTF-8',
    ...{ HTTP_PROXY: nowhere, HTTPS_PROXY: nowhere, NO_PROXY: 'localhost,127.0.0.1,::1' },
    // The Inspector opens no browser without a terminal unless told to.
    MCP_AUTO_OPEN_ENABLED: 'true',
    MCP_INSPECTOR_SECRET_STORE: 'file',
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

/** Makes every access token that lies in this home one that no server knows; says how many there were. */
export function spoilAccessTokens(home: string): number {
  let found = 0
  for (const path of filesIn(home)) {
    const text = readFileSync(path, 'utf8')
    const spoiled = text.replace(/eyJ[\w-]+\.[\w-]+\.[\w-]+/g, () => `spoiled.${++found}`)
    if (spoiled !== text) writeFileSync(path, spoiled)
  }
  return found
}

/** The refresh token that a client keeps in this home, and the id that it was registered with. */
export function keptGrant(home: string): { refreshToken: string; clientId: string } {
  const all = filesIn(home).map((path) => readFileSync(path, 'utf8'))
  const find = (pattern: RegExp) => all.map((text) => pattern.exec(text)?.[0]).find(Boolean) ?? ''
  return { refreshToken: find(/bmr_[\w-]+/), clientId: find(/cli_[0-9a-z]{26}/) }
}

function filesIn(home: string): string[] {
  return readdirSync(home, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.json'))
    .map((entry) => join(entry.parentPath, entry.name))
}
