/** The rules of the house that no linter knows: each test names a rule and lists the files that break it. */
import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { basename, dirname, join, normalize } from 'node:path'

const root = join(import.meta.dir, '..')
const MAX_FILE_LINES = 400
const MAX_MAIN_LINES = 60
const MAX_FUNCTION_LINES = 70
const bannedNames = /^(utils?|helpers?|common|types|constants|misc|manager)(\.test)?\.tsx?$/
const shared = ['@bmm/lib', '@bmm/proto', '@bmm/spec']

/** `import … from`, `export … from`; `import '…'`; `import('…')`. */
const importing =
  /^(?:import|export)\b[^'"`;=]*\bfrom\s+'([^'\n]+)'|^import\s+'([^'\n]+)'|\bimport\(\s*'([^'\n]+)'\s*\)/gm

const taking =
  /^import\s+(?:\{([^}]*)\}|\* as (\w+))\s+from\s+'([^'\n]+)'|\bimport\(\s*'([^'\n]+)'\s*\)/gm

const exportedValue = /^export (?:async )?(?:function\*?|const|class) (\w+)/gm

const innerFunction =
  /^\s+(?:(?:async )?function\*? \w+|(?:async )?\*?\[?[\w.]+\]?\(.*\).* \{$|.*=> \{$)/

type Source = { path: string; text: string }

const sources: Source[] = [...new Bun.Glob('**/*.{ts,tsx}').scanSync({ cwd: root })]
  .filter((path) => !/(^|\/)(node_modules|gen|fixtures|dist)\//.test(path))
  .sort()
  .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }))
const isTest = ({ path }: Source) => path.endsWith('.test.ts') || path.startsWith('tests/')

describe('files', () => {
  test('there are some to look at', () => {
    expect(sources.length).toBeGreaterThan(50)
  })

  test('a file opens with one sentence that says what it owns', () => {
    const found = offenders(
      (source) => !isTest(source) && !/^\/\*\* [A-Z`].*\.( \*\/)?$/.test(firstLine(source)),
    )
    expect(found).toEqual([])
  })

  test(`a file has at most ${MAX_FILE_LINES} lines`, () => {
    expect(offenders((source) => lines(source) > MAX_FILE_LINES)).toEqual([])
  })

  test(`a main.ts only wires, in at most ${MAX_MAIN_LINES} lines`, () => {
    const found = offenders(
      (source) => basename(source.path) === 'main.ts' && lines(source) > MAX_MAIN_LINES,
    )
    expect(found).toEqual([])
  })

  test(`a function has at most ${MAX_FUNCTION_LINES} lines`, () => {
    const found = sources
      .filter((source) => !isTest(source) && !source.path.endsWith('.tsx'))
      .flatMap(longFunctions)
    expect(found).toEqual([])
  })

  test('no file is a drawer for everything', () => {
    expect(offenders(({ path }) => bannedNames.test(basename(path)))).toEqual([])
  })

  test('a name is in kebab-case, or PascalCase for a component', () => {
    const found = offenders(
      ({ path }) =>
        !/^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z]+)*\.ts$/.test(basename(path)) &&
        !/^[A-Z][A-Za-z0-9]*\.tsx$/.test(basename(path)),
    )
    expect(found).toEqual([])
  })
})

describe('reach', () => {
  test('SQL stands in stores only', () => {
    const home =
      /(^|[/-])store(\.ts|\/)|^lib\/(sql|testing)\.ts$|^cli\/stack\/|^tests\/|^bench\/|\.test\.ts$/
    const found = offenders(
      ({ path, text }) =>
        !home.test(path) && /\b(sql|transaction|connection|admin)`|\.unsafe\(/.test(text),
    )
    expect(found).toEqual([])
  })

  test('the environment is read in config.ts only', () => {
    const home = /(^|\/)config\.ts$|^lib\/env\.ts$|^cli\/|^bench\//
    const found = offenders(
      (source) =>
        !home.test(source.path) &&
        !isTest(source) &&
        /\b(process|Bun)\.env\b|import\.meta\.env\b/.test(source.text),
    )
    expect(found).toEqual([])
  })

  test('nobody reaches into another workspace by a relative path', () => {
    const found = imports().filter(
      ({ from, to }) => to.startsWith('.') && !mayReach(from, normalize(join(dirname(from), to))),
    )
    expect(found).toEqual([])
  })

  test('a workspace imports only what it may', () => {
    const found = imports().filter(({ from, to }) => {
      const name = /^@bmm\/[a-z]+/.exec(to)?.[0]
      return name !== undefined && !mayImport(workspaceOf(from), from, name, to)
    })
    expect(found).toEqual([])
  })

  test('what a file exports, another one imports', () => {
    const taken = new Set(sources.flatMap(takenNames))
    const found = sources.flatMap(({ path, text }) =>
      [...text.matchAll(exportedValue)]
        .map(([, name]) => name)
        .filter((name) => !taken.has(`${basename(path, '.ts')} ${name}`))
        .map((name) => `${path} ${name}`),
    )
    expect(found).toEqual([])
  })

  test('nothing is exported again from elsewhere', () => {
    const found = offenders(({ text }) =>
      /^export\s+(type\s+)?(\*|\{[^}]*\})\s*(as \w+ )?from\b/m.test(text),
    )
    expect(found).toEqual([])
  })
})

describe('tests', () => {
  test('none waits inside of expect, which loses events of sockets and pipes', () => {
    expect(offenders(({ text }) => /\.(rejects|resolves)\b\./.test(text))).toEqual([])
  })
})

function mayImport(workspace: string, from: string, name: string, to: string): boolean {
  if (workspace === `services/${name.slice('@bmm/'.length)}`) return true
  if (workspace === 'lib') return name === '@bmm/proto' || name === '@bmm/lib'
  if (workspace === 'spec') return name === '@bmm/spec'
  if (workspace === 'bench' && name === '@bmm/tests') return true
  if (workspace === 'cli' && to.startsWith('@bmm/generator/openapi/')) return true
  // Journeys go through the pure ends of two services as well.
  if (workspace === 'tests' && /^@bmm\/(generator\/openapi|runner\/guest)\//.test(to)) return true
  // What an operator would bring is run as the stack runs its own.
  if (from === 'tests/operator-stores.ts' && name === '@bmm/cli') return true
  // Hostile tools are tried on sandboxes without a stack around them.
  if (from.startsWith('tests/hostile/') && name === '@bmm/runner') return true
  // A guest is a program of its own that ships one file: it may take pure modules only.
  if (from.startsWith('services/runner/guest/') && !from.endsWith('.test.ts')) {
    return name === '@bmm/spec' || /^@bmm\/lib\/(frame|(deadlines|exact-json)$)/.test(to)
  }
  return shared.includes(name)
}

/** The version in the root's package.json is everybody's. */
function mayReach(from: string, path: string): boolean {
  return path === 'package.json' || workspaceOf(path) === workspaceOf(from)
}

function workspaceOf(path: string): string {
  const [first = '', second = ''] = path.split('/')
  return first === 'services' ? `${first}/${second}` : first
}

function imports(): { from: string; to: string }[] {
  return sources.flatMap(({ path, text }) =>
    [...text.matchAll(importing)]
      .map((match) => match[1] ?? match[2] ?? match[3] ?? '')
      .filter((to) => to.startsWith('.') || to.startsWith('@bmm/'))
      .map((to) => ({ from: path, to })),
  )
}

/** What a file takes from others, as `file name`: by name, by `store.name`, or after `import()`. */
function takenNames({ text }: Source): string[] {
  return [...text.matchAll(taking)].flatMap(([, names = '', namespace, from = '', later]) => {
    const file = basename(later ?? from, '.ts')
    if (namespace !== undefined) {
      const members = text.matchAll(new RegExp(`\\b${namespace}\\.(\\w+)`, 'g'))
      return [...members].map(([, name]) => `${file} ${name}`)
    }
    const words = later === undefined ? names : text
    return (words.match(/\w+/g) ?? []).map((name) => `${file} ${name}`)
  })
}

function offenders(breaks: (source: Source) => boolean): string[] {
  return sources.filter(breaks).map((source) => source.path)
}

/**
 * By the formatter's indentation: a function ends at the first brace in its own column. One that holds
 * functions of its own is a scope for them; each of those is looked at by itself.
 */
function longFunctions({ path, text }: Source): string[] {
  const all = text.split('\n')
  return all.flatMap((line, start) => {
    const head = /^(\s*)(?:export )?(?:async )?function\*? (\w+)/.exec(line)
    if (head === null) return []
    const length = all.slice(start).findIndex((each) => each.startsWith(`${head[1]}}`)) + 1
    const isScope = all.slice(start + 1, start + length).some((each) => innerFunction.test(each))
    return length > MAX_FUNCTION_LINES && !isScope ? [`${path} ${head[2]}: ${length} lines`] : []
  })
}

function firstLine({ text }: Source): string {
  return text.split('\n', 1)[0] ?? ''
}

function lines({ text }: Source): number {
  return text.split('\n').length - 1
}
