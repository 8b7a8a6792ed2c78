import { afterAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const folder = mkdtempSync(join(tmpdir(), 'bmm-sweep-'))
afterAll(() => rmSync(folder, { recursive: true }))

test('goes over control groups that another mount covers', () => {
  const sweeping = `
    const { openStackPaths } = await import('${join(import.meta.dir, 'paths.ts')}')
    const { sweepUnused } = await import('${join(import.meta.dir, 'sweep.ts')}')
    await sweepUnused(openStackPaths(process.argv[1]))`
  const covered = 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"'
  const bun = [process.execPath, '--no-install', '-e', sweeping, '--', join(folder, 'data')]
  const cmd = ['unshare', '--mount', 'sh', '-c', covered, 'covered', ...bun]
  const { exitCode, stderr } = Bun.spawnSync({ cmd, stdin: 'ignore' })
  expect([exitCode, stderr.toString()]).toEqual([0, ''])
})
