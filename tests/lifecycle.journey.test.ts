import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { until } from '@bmm/lib/testing-until'
import { processes } from './processes.ts'
import { bmm } from './stack.ts'

const services = ['auth', 'secrets', 'generator', 'runner', 'broker', 'gateway', 'keeper']
let data: string
let report: { gateway: string; mailbox: string; data: string; driver: string }

beforeAll(async () => {
  data = mkdtempSync(join(tmpdir(), 'bmm-lifecycle-'))
  report = await up()
}, 180_000)
afterAll(async () => {
  await bmm(['down', '--data', data])
  rmSync(data, { recursive: true, force: true })
})

async function up() {
  const { code, stdout, stderr } = await bmm([
    'up',
    '--data',
    data,
    '--port',
    '0',
    '--detach',
    '--json',
  ])
  if (code !== 0) throw new Error(`up ended with ${code}: ${stderr}`)
  expect(stdout.trim().split('\n').length).toBe(1)
  return JSON.parse(stdout)
}

/** Processes of this stack: those that have its run directory or its data directory in their command. */
function ours() {
  const run = dirname(report.mailbox)
  return processes().filter(({ command }) => command.includes(run) || command.includes(data))
}

function pidOf(service: string): number | undefined {
  const supervisor = supervisorPid()
  const log = readFileSync(join(data, 'logs', 'supervisor.log'), 'utf8')
  const starts = log
    .split('\n')
    .filter((line) => line.includes(`"kind":"started","name":"${service}"`))
    .map((line) => Number(/"pid":(\d+)/.exec(line)?.[1]))
  const pid = starts.at(-1)
  return pid !== undefined && existsSync(`/proc/${pid}`) && supervisor !== undefined
    ? pid
    : undefined
}

function supervisorPid(): number {
  return Number(readFileSync(join(data, 'lock.pid'), 'utf8'))
}

async function healthy(): Promise<boolean> {
  const answer = await fetch(`${report.gateway}/health/ready`).catch(() => undefined)
  return answer?.status === 200
}

describe('a running stack', () => {
  test('says where everything is', async () => {
    expect(report.gateway).toMatch(/^http:\/\/localhost:\d+$/)
    expect(report.data).toBe(data)
    expect(report.driver).toBe('bwrap')
    expect(existsSync(report.mailbox)).toBe(true)
    expect(await healthy()).toBe(true)
  })

  test('answers on both loopback addresses', async () => {
    const port = new URL(report.gateway).port
    for (const host of ['127.0.0.1', '[::1]']) {
      const answer = await fetch(`http://${host}:${port}/health/live`, {
        headers: { host: `localhost:${port}` },
      })
      expect(answer.status).toBe(200)
    }
  })

  test('a second up says that it runs and exits 0', async () => {
    const again = await bmm(['up', '--data', data, '--detach', '--json'])
    expect(again.code).toBe(0)
    expect(JSON.parse(again.stdout)).toEqual(report)
    expect(again.stderr).toContain('already running')
    const set = await bmm(['up', '--data', data, '--detach'], { env: { BMM_ORG_CORES: '1' } })
    expect([set.code, set.stderr]).toEqual([0, expect.stringContaining('only: BMM_ORG_CORES (')])
  })

  test('of two first ups in one instant one starts it and both say the same', async () => {
    const twin = mkdtempSync(join(tmpdir(), 'bmm-lifecycle-'))
    const words = ['up', '--data', twin, '--port', '0', '--detach', '--json']
    try {
      const both = await Promise.all([bmm(words), bmm(words)])
      expect(both.map(({ code, stderr }) => [code, code === 0 ? '' : stderr])).toEqual([
        [0, ''],
        [0, ''],
      ])
      expect(both[0].stdout).toBe(both[1].stdout)
    } finally {
      await bmm(['down', '--data', twin])
      rmSync(twin, { recursive: true, force: true })
    }
  }, 120_000)

  test('another port is refused, because every token contains the first one', async () => {
    const other = await bmm(['up', '--data', data, '--port', '1025'])
    expect(other.code).toBe(1)
    expect(other.stderr).toContain(new URL(report.gateway).port)
  })

  test('each service is a user of its own without capabilities', () => {
    const users = new Set<string>()
    for (const service of services.filter((name) => name !== 'keeper')) {
      const status = readFileSync(`/proc/${pidOf(service)}/status`, 'utf8')
      expect([service, /CapEff:\s(\w+)/.exec(status)?.[1]]).toEqual([service, '0000000000000000'])
      users.add(/Uid:\s+(\d+)/.exec(status)?.[1] ?? '')
    }
    expect(users.size).toBe(services.length - 1)
    expect(users.has('0')).toBe(false)
  })

  test('no key or password stands in an argument or in the environment of a process', () => {
    const secrets = readdirSync(join(data, 'keys'))
      .map((name) => readFileSync(join(data, 'keys', name), 'utf8').trim())
      .flatMap((text) => (text.includes('PRIVATE') ? (text.split('\n')[1] ?? []) : [text]))
    for (const { pid, command } of ours()) {
      for (const secret of secrets) expect(command).not.toContain(secret)
      const environment = existsSync(`/proc/${pid}`) ? environmentOf(pid) : ''
      for (const file of readdirSync(join(data, 'keys')).filter((name) => /pem|kek/.test(name))) {
        const text = readFileSync(join(data, 'keys', file), 'utf8')
        expect(environment).not.toContain(text.split('\n')[text.includes('PRIVATE') ? 1 : 0] ?? '')
      }
    }
  })

  test('the data directory is closed to everyone else', () => {
    for (const path of [data, join(data, 'keys'), join(data, 'logs')]) {
      expect((statSync(path).mode & 0o077).toString(8)).toBe('0')
    }
  })
})

describe('what dies', () => {
  test.each([...services, 'postgres', 'redis'])(
    'a killed %s comes back',
    async (service) => {
      const pid = pidOf(service)
      if (pid === undefined) throw new Error(`${service} does not run`)
      process.kill(pid, 'SIGKILL')
      await until(() => pidOf(service) !== undefined && pidOf(service) !== pid)
      await until(healthy)
    },
    150_000,
  )

  test('a killed supervisor leaves no process behind, and the next up starts clean', async () => {
    process.kill(supervisorPid(), 'SIGKILL')
    await until(() => ours().length === 0 && !existsSync(dirname(report.mailbox)))
    const again = await up()
    expect(again).toEqual(report)
    expect(await healthy()).toBe(true)
  }, 150_000)

  test('down stops all of it and removes the run directory; a second down finds nothing', async () => {
    const stopped = await bmm(['down', '--data', data])
    expect([stopped.code, stopped.stdout.trim()]).toEqual([0, 'stopped'])
    expect(ours()).toEqual([])
    expect(existsSync(dirname(report.mailbox))).toBe(false)
    const again = await bmm(['down', '--data', data, '--json'])
    expect(JSON.parse(again.stdout)).toEqual({ stopped: false, data })
  })

  test('a password of the operator stands in no argument', async () => {
    const mail = ['BMM_SMTP_URL=smtp://u:canary-9d1f@127.0.0.1:1', 'BMM_MAIL_FROM=a@b.c']
    const child = Bun.spawn(['env', ...mail, './bmm', 'up', '--data', data, '--json'], {
      cwd: join(import.meta.dir, '..'),
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const started = JSON.parse(
      Buffer.from((await child.stdout.getReader().read()).value ?? []).toString(),
    )
    expect(started).toEqual({ ...report, mailbox: null })
    expect(processes().filter(({ command }) => command.includes('canary-9d1f'))).toEqual([])
    child.kill('SIGTERM')
    expect(await child.exited).toBe(0)
  }, 150_000)

  test('Ctrl-C in the foreground stops everything', async () => {
    const child = Bun.spawn(['./bmm', 'up', '--data', data, '--json'], {
      cwd: join(import.meta.dir, '..'),
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const reader = child.stdout.getReader()
    const line = Buffer.from((await reader.read()).value ?? []).toString()
    expect(JSON.parse(line)).toEqual(report)
    child.kill('SIGINT')
    expect(await child.exited).toBe(0)
    expect(ours()).toEqual([])
  }, 150_000)
})

function environmentOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8')
  } catch {
    return ''
  }
}
