import { afterEach, beforeEach, expect, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CommandFault } from './fault.ts'
import { installTestPackages } from './test-packages.ts'

const files = ['tests/own/deep/a.test.ts', 'tests/b.test.ts']
let root: string
let said: string[]
const install = (forbidden: boolean) =>
  installTestPackages(files, { root, forbidden, say: (line) => void said.push(line) })

/** A package in `tests/own` whose only dependency lies beside it. */
beforeEach(() => {
  said = []
  root = mkdtempSync(join(tmpdir(), 'bmm-packages-'))
  const own = join(root, 'tests/own')
  mkdirSync(join(own, 'part'), { recursive: true })
  const write = (path: string, content: object) =>
    writeFileSync(join(own, path), JSON.stringify(content))
  write('part/package.json', { name: 'part', version: '1.0.0' })
  write('package.json', { name: 'own', dependencies: { part: 'file:./part' } })
  Bun.spawnSync([process.execPath, 'install', '--lockfile-only'], { cwd: own })
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

test('a package beside the workspaces is installed once, and that is said', async () => {
  await install(false)
  await install(false)
  expect(said).toEqual(['installing the packages of tests/own (bun install)'])
  expect(existsSync(join(root, 'tests/own/node_modules/part/package.json'))).toBe(true)
})

test('what is installed is used where installing is forbidden', async () => {
  await install(false)
  await install(true)
  expect(said.length).toBe(1)
})

test('where installing is forbidden and something is missing, nothing is installed and the way on is named', async () => {
  const fault = await install(true).catch((error: unknown) => error)
  expect(fault).toBeInstanceOf(CommandFault)
  expect(fault).toMatchObject({ message: expect.stringContaining('./bmm test tests/own') })
  expect(existsSync(join(root, 'tests/own/node_modules'))).toBe(false)
})

test('a lock that asks for something else is installed again', async () => {
  await install(false)
  writeFileSync(join(root, 'tests/own/node_modules/.bmm-lock'), 'older')
  await install(false)
  expect(said.length).toBe(2)
})

test('a package that cannot be installed is a failure with the reason', async () => {
  writeFileSync(
    join(root, 'tests/own/package.json'),
    '{"name":"own","dependencies":{"part":"file:./gone"}}',
  )
  const fault = await install(false).catch((error: unknown) => error)
  expect(fault).toBeInstanceOf(CommandFault)
  expect(fault).toMatchObject({
    message: expect.stringMatching(/tests\/own could not be installed: .*\w/s),
  })
})
