import { afterAll, expect, test } from 'bun:test'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A user that owns nothing on this machine. */
const user = '1879040000'
const folder = mkdtempSync(join(tmpdir(), 'bmm-process-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** What another process of the same user reads of one whose environment holds a canary. */
async function lookInto(program: string): Promise<string> {
  const bun = join(folder, 'bun')
  copyFileSync(process.execPath, bun)
  writeFileSync(join(folder, 'program.ts'), program)
  const asUser = ['setpriv', '--reuid', user, '--regid', user, '--clear-groups']
  const child = Bun.spawn([...asUser, bun, '--no-install', join(folder, 'program.ts')], {
    cwd: folder,
    env: { PATH: '/usr/bin:/bin', CANARY: 'canary-value' },
    stdout: 'pipe',
    stderr: 'inherit',
  })
  try {
    await child.stdout.getReader().read()
    const look = Bun.spawn([...asUser, 'cat', `/proc/${child.pid}/environ`], { stderr: 'pipe' })
    const read = await new Response(look.stdout).text()
    return read + (await new Response(look.stderr).text())
  } finally {
    child.kill('SIGKILL')
    await child.exited
  }
}

const waiting = `process.stdout.write('ready'); setInterval(() => {}, 1000)`

test('a process of the same user reads another one’s environment, unless that forbids it', async () => {
  Bun.spawnSync(['chmod', '755', folder])
  expect(await lookInto(waiting)).toContain('canary-value')
  const built = await Bun.build({
    entrypoints: [join(import.meta.dir, 'process.ts')],
    target: 'bun',
    outdir: folder,
  })
  expect(built.success).toBe(true)
  const shut = await lookInto(`import { forbidInspection } from './process.js'
    forbidInspection(); ${waiting}`)
  expect(shut).toMatch(/Permission denied/)
  expect(shut).not.toContain('canary-value')
})

test('a process that something holds leaves after its time, and one that nothing holds at once', async () => {
  async function stopped(holds: string): Promise<{ code: number; said: string }> {
    const program = join(folder, 'held.ts')
    writeFileSync(
      program,
      `import { untilStopped } from '${join(import.meta.dir, 'process.ts')}'
       import { createLog } from '${join(import.meta.dir, 'log.ts')}'
       const stopping = untilStopped(createLog('test', 'info'), 300)
       const beat = setInterval(() => {}, 1000)
       process.stderr.write('ready')
       await stopping
       ${holds}`,
    )
    const child = Bun.spawn([process.execPath, '--no-install', program], {
      stdout: 'pipe',
      stderr: 'pipe',
      env: {},
    })
    await child.stderr.getReader().read()
    child.kill('SIGTERM')
    return { said: await new Response(child.stdout).text(), code: await child.exited }
  }
  const held = await stopped('await new Promise(() => {})')
  expect(held.code).toBe(1)
  expect(held.said).toContain('it leaves all the same')
  const free = await stopped('clearInterval(beat)')
  expect(free.code).toBe(0)
  expect(free.said).not.toContain('leaves')
})
