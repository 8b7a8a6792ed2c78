import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { checkout } from './config.ts'
import { CommandFault } from './fault.ts'
import { failedTests, failuresIn, findTestFiles, resultOf, runTestFile } from './test-files.ts'

const junit = (tests: number, failures: number, skipped: number) =>
  `<?xml version="1.0"?>\n<testsuites name="bun test" tests="${tests}" assertions="9" failures="${failures}" skipped="${skipped}" time="0.1">`

describe('what came out of a file', () => {
  test.each([
    ['all passed', 0, junit(3, 0, 0), 3, 0],
    ['one failed', 1, junit(3, 1, 0), 2, 1],
    ['a skipped test is not known to work', 0, junit(3, 0, 1), 2, 1],
    ['an error beside passing tests', 1, junit(3, 0, 0), 3, 1],
    ['no test at all', 0, junit(0, 0, 0), 0, 1],
    ['a crash leaves no report', 139, undefined, 0, 1],
  ])('%s', (_name, code, report, passed, failed) => {
    expect(resultOf(code, report)).toEqual({ passed, failed })
  })
})

describe('a file with a failure', () => {
  test('is shown without what passed, and its failed tests by name', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'bmm-failing-'))
    const fixture = join(folder, 'fails.test.ts')
    writeFileSync(
      fixture,
      `import { expect, test } from 'bun:test'
      test('passes', () => {})
      test('adds', () => { expect(1 + 1).toBe(3) })
      test('passes too', () => {})`,
    )
    const env = { PATH: Bun.env.PATH ?? '' }
    const { output } = await runTestFile(relative(checkout, fixture), folder, env)
    rmSync(folder, { recursive: true })
    expect(output).toContain('(pass) passes too')
    expect(failuresIn(output)).toMatch(/Expected: 3\nReceived: 2[\s\S]+\(fail\) adds/)
    expect(failuresIn(output)).not.toContain('(pass)')
    expect(failedTests(output)).toEqual([expect.stringMatching(/^adds \[.+ms\]$/)])
  })
})

describe('a file that does not end', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'bmm-hanging-'))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  test('is killed after a silence, counts as failed, and its output is shown', async () => {
    const fixture = join(folder, 'hangs.test.ts')
    writeFileSync(
      fixture,
      `import { expect, test } from 'bun:test'
      test('passes', () => { console.log('said before'); expect(1).toBe(1) })
      test('hangs', () => { Bun.sleepSync(120_000) })`,
    )
    const file = relative(checkout, fixture)
    const env = { PATH: Bun.env.PATH ?? '' }
    const result = await runTestFile(file, folder, env, 4_000)
    expect([result.failed, result.elapsedMs < 60_000]).toEqual([1, true])
    expect(result.output).toContain('said before')
    expect(result.output).toContain('(pass) passes')
    expect(result.output).toEndWith(`${file} hung: after 4 s without another line it was killed.\n`)
  }, 90_000)
})

describe('which files', () => {
  test('those over several services come first, since they take longest', async () => {
    const files = await findTestFiles([])
    const slow = files.filter((file) => file.startsWith('tests/'))
    expect(slow.length).toBeGreaterThan(0)
    expect(files.slice(0, slow.length)).toEqual(slow)
  })

  test('a folder or a file chooses', async () => {
    expect(await findTestFiles(['./cli/test-files.test.ts'])).toEqual(['cli/test-files.test.ts'])
    const files = await findTestFiles(['lib/'])
    expect(files.every((file) => file.startsWith('lib/'))).toBe(true)
  })

  test('a path without a test is a wrong use, never an empty success', async () => {
    const fault = await findTestFiles(['no/such']).catch((error: unknown) => error)
    expect(fault).toBeInstanceOf(CommandFault)
    expect(fault).toMatchObject({ exitCode: 2 })
  })
})
