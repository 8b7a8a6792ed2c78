import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readCredentials } from './credential-value.ts'
import { CommandFault } from './fault.ts'
import { parseTarget } from './operator.ts'

const main = join(import.meta.dir, 'main.ts')
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bmm-commands-'))
  writeFileSync(join(folder, 'key'), 'from-a-file\n')
})
afterAll(() => rmSync(folder, { recursive: true }))

function bmm(...words: string[]) {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, main, ...words], {
    cwd: folder,
    stdin: 'ignore',
  })
  return { code: exitCode, stdout: stdout.toString(), stderr: stderr.toString() }
}

describe('wrong use ends with 2 and a sentence', () => {
  test.each([
    [['bogus'], /unknown command/],
    [['up', '--port', 'many'], /A port is 0 for any free one, or from 1024/],
    [['up', '--port', '65536'], /A port is 0/],
    [['up', '--port', '80'], /without privileges/],
    [['up', '--frobnicate'], /unknown option/],
    [['login'], /Give either --email or/],
    [['login', '--email', 'a@example.com', '--link', 'x'], /Give either --email or/],
    [['login', '--email', 'nobody'], /must be an address/],
    [['tokens', 'create', '--scope', 'tools:call'], /--name/],
    [['tokens', 'create', '--name', 'x'], /--scope/],
    [['tokens', 'create', '--name', 'x', '--scope', 'root'], /Scopes are servers:read, /],
    [['tokens', 'create', '--name', 'x', '--scope', 'tools:call', '--expires', '400d'], /366d/],
    [['tokens', 'revoke'], /missing required argument/],
    [['draft'], /--openapi/],
    [['draft', '--openapi', 'x.json', '--base-url', '/v1'], /must be a whole address/],
    [['draft', '--openapi', 'x.json', '--only', 'pets'], /--only: A filter is neither/],
    [['servers', 'create', '--openapi', 'x', '--slug', 'No'], /A slug has 3 to 40/],
    [['servers', 'create', '--openapi', 'x', '--slug', 'admin'], /is reserved/],
    [['servers', 'create', '--openapi', 'x', '--slug', 'google-drive'], /a server of google/],
    [['draft', '--openapi', 'missing.json'], /There is no file missing.json/],
    [['draft', '--openapi', '.'], /is a folder/],
    [['servers', 'create', '--openapi', 'x.json'], /--slug/],
    [['servers', 'create', '--openapi', 'x', '--slug', 'abc', '--access', 'all'], /org, anyone/],
    [['servers', 'delete', 'shop'], /cannot be undone/],
    [['servers', 'show', ''], /by its slug .* or by its id/],
    [['servers', 'tools', 'Shop'], /by its slug/],
    [['call', 'srv_1', 'tool'], /by its id, srv_ and 26/],
    [['logs', '../x'], /by its slug/],
    [['credentials', 'list', 'a/b'], /by its slug/],
    [['builds', 'show', 'bld_1'], /by its id, bld_ and 26/],
    [['credentials', 'set', 'shop', 'lower=1'], /UPPER_SNAKE_CASE/],
    [['call', 'shop', 'tool', '[1]'], /must be a JSON object/],
    [['call', 'shop', 'tool', '{"a":'], /must be a JSON object/],
    [['targets', 'allow', 'nowhere'], /HOST:PORT/],
    [['targets', 'allow', '10.0.0.5:80'], /--org ID .* or --everyone/],
    [
      ['targets', 'allow', '10.0.0.5:80', '--org', 'org_1', '--everyone'],
      /--org ID .* or --everyone/,
    ],
    [['stats', 'shop', '--hours', '0'], /whole number from 1 to 744/],
    [['stats', 'shop', '--days', '2', '--hours', '2'], /cannot be used with/],
    [['clients', 'create', '--name', 'x'], /--redirect-uri/],
    [
      ['clients', 'create', '--name', 'x', '--redirect-uri', 'y', '--auth', 'mtls'],
      /Allowed choices/,
    ],
    [['clients', 'delete', 'cli_1'], /Say --yes/],
    [['test', 'no/such/folder'], /There is no test under/],
  ])('%p', (words, sentence) => {
    const { code, stderr } = bmm(...words)
    expect([code, stderr]).toEqual([2, expect.stringMatching(sentence)])
  })
})

describe('what cannot be done ends with 1 and a sentence', () => {
  test.each([
    [['whoami']],
    [['servers', 'list']],
    [['logs', 'shop']],
    [['stats', 'shop']],
    [['stats']],
    [['token', 'shop']],
    [['targets', 'list']],
    [['keys', 'rotate']],
    [['clients', 'list']],
    [['logout']],
  ])('without a stack: %p', (words) => {
    const { code, stderr } = bmm(...words, '--data', join(folder, 'none'))
    expect([code, stderr]).toEqual([1, expect.stringMatching(/No stack runs on .*\.\/bmm up/)])
  })

  test('the command that helps can be pasted: it names the data directory that was given', () => {
    const none = join(folder, 'none')
    const { stderr } = bmm('servers', 'list', '--data', none)
    expect(stderr).toContain(`(./bmm up --detach --data ${none})`)
  })

  test.each([
    [['tokens', 'list']],
    [['tokens', 'create', '--name', 'x', '--scope', 'tools:call']],
    [['sessions', 'list']],
    [['call', 'shop', 'tool']],
    [['token', 'shop']],
  ])('with BMM_TOKEN, which may not do that: %p', (words) => {
    const asked = [...words, '--data', join(folder, 'none')]
    const { exitCode, stderr } = Bun.spawnSync([process.execPath, main, ...asked], {
      cwd: folder,
      env: { ...Bun.env, BMM_TOKEN: 'bmm_x' },
      stdin: 'ignore',
    })
    expect([exitCode, stderr.toString()]).toEqual([1, expect.stringMatching(/BMM_TOKEN is set/)])
  })

  test('with BMM_TOKEN that holds something else, which is named', () => {
    const asked = ['servers', 'list', '--data', join(folder, 'none')]
    const { exitCode, stderr } = Bun.spawnSync([process.execPath, main, ...asked], {
      cwd: folder,
      env: { ...Bun.env, BMM_TOKEN: 'ghp_other' },
      stdin: 'ignore',
    })
    expect([exitCode, stderr.toString()]).toEqual([
      2,
      expect.stringMatching(/^bmm: BMM_TOKEN holds/),
    ])
    expect(stderr.toString()).not.toContain('ghp_other')
  })

  test('a fault is one line of JSON for scripts', () => {
    const { code, stdout } = bmm('whoami', '--data', join(folder, 'none'), '--json')
    expect(code).toBe(1)
    expect(JSON.parse(stdout)).toEqual({
      error: { code: 'not_running', message: expect.stringContaining('./bmm up') },
    })
  })

  test('what the system refuses is a sentence with the path', () => {
    const { code, stderr } = bmm('down', '--data', join(folder, 'key'))
    expect([code, stderr]).toEqual([1, expect.stringContaining(join(folder, 'key'))])
    expect(stderr).not.toContain('bug')
  })

  test('a malformed document is named with line and column, without its text', () => {
    writeFileSync(
      join(folder, 'broken.json'),
      '{\n  "openapi": "3.1.0",\n  "key": "hunter2" oops\n}',
    )
    const { code, stdout, stderr } = bmm('draft', '--openapi', 'broken.json')
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(/broken\.json:3:\d+: /)
    expect(stderr).not.toContain('hunter2')
  })
})

describe('help', () => {
  test('every command explains itself and exits 0', () => {
    const { code, stdout } = bmm('--help')
    expect(code).toBe(0)
    const names = [...stdout.matchAll(/^ {2}([a-z]+)(?: \[| <|\s{2,})/gm)].map(
      ([, name]) => name ?? '',
    )
    expect(names.length).toBeGreaterThan(14)
    for (const name of names.filter((each) => each !== 'bench')) {
      const help = bmm(name, '--help')
      expect([name, help.code, help.stdout]).toEqual([name, 0, expect.stringContaining('Usage:')])
    }
  }, 60_000)
})

describe('values of credentials', () => {
  test('come from the command line or a file, whose line end is not part of them', () => {
    const given = ['A=plain', `B=@${join(folder, 'key')}`, 'C=with=equals']
    expect(readCredentials(given)).toEqual([
      { name: 'A', value: 'plain' },
      { name: 'B', value: 'from-a-file' },
      { name: 'C', value: 'with=equals' },
    ])
  })

  test.each([
    [['A'], /A has no value/],
    [['A='], /empty/],
    [['A=1', 'A=2'], /twice/],
    [['A=-', 'B=-'], /Only one/],
    [['A=@/no/such/file'], /cannot be read/],
    [['a=hunter2'], /UPPER_SNAKE_CASE/],
    [[`A=${'x'.repeat(16_385)}`], /more than/],
  ])('%#: a wrong one is refused without showing a value', (given, sentence) => {
    const refuse = () => readCredentials(given)
    expect(refuse).toThrow(CommandFault)
    expect(refuse).toThrow(sentence)
    expect(refuse).not.toThrow(/hunter2|xxxx/)
  })
})

describe('targets', () => {
  test.each([
    ['127.0.0.1:8080', { host: '127.0.0.1', port: 8080 }],
    ['API.internal:443', { host: 'api.internal', port: 443 }],
    ['[::1]:9000', { host: '::1', port: 9000 }],
  ])('%s', (text, target) => expect(parseTarget(text)).toEqual(target))

  test.each([
    '',
    'host',
    'host:0',
    'host:65536',
    '::1:80',
    'http://host:80',
    'a b:80',
    'host:80/x',
  ])('%p is none', (text) => expect(() => parseTarget(text)).toThrow(CommandFault))
})
