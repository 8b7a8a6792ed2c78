import { expect, test } from 'bun:test'
import { join } from 'node:path'

/** The lines that a program using our log prints. */
async function linesOf(program: string): Promise<Record<string, unknown>[]> {
  const child = Bun.spawn([process.execPath, '-e', program], {
    cwd: join(import.meta.dir, '..', 'lib'),
  })
  const text = await new Response(child.stdout).text()
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
}

test('an error is logged with name, message and causes, whatever else hangs on it', async () => {
  const [line] = await linesOf(`
    import { createLog } from './log.ts'
    const error = new TypeError('outer', { cause: new Error('inner') })
    error.self = error
    error.sent = 'canary'
    createLog('test').error({ err: error }, 'it failed')`)
  expect(line).toMatchObject({
    level: 'error',
    service: 'test',
    message: 'it failed',
    err: { type: 'TypeError', message: 'outer', cause: { message: 'inner' } },
  })
  expect(JSON.stringify(line)).not.toContain('canary')
})

test('members that are named like secrets are redacted, also two levels down', async () => {
  const [line] = await linesOf(`
    import { createLog } from './log.ts'
    createLog('test').info({ token: 'canary', a: { value: 'canary', b: { code: 'canary' } } }, 'x')`)
  expect(JSON.stringify(line)).not.toContain('canary')
})

test('a full disk costs lines, not the process', () => {
  const script = `
    import { createLog } from '${import.meta.dir}/log.ts'
    const log = createLog('full')
    for (let line = 0; line < 3; line++) { log.info('no room'); await Bun.sleep(10) }
    process.stderr.write('it lives')`
  const { stderr, exitCode } = Bun.spawnSync([
    ...['sh', '-c', 'exec "$@" > /dev/full', 'sh'],
    ...[process.execPath, '-e', script],
  ])
  expect([exitCode, stderr.toString()]).toEqual([0, 'it lives'])
})
