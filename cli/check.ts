/** `check`: all that is checked without running the product, in one command. */
import { join } from 'node:path'
import { accessTable, externalTable } from '@bmm/lib/contracts'
import { scopeFor } from '@bmm/lib/permission'
import { Permission } from '@bmm/proto/v1/options'
import type { Command } from 'commander'
import { checkout } from './config.ts'
import { failed } from './fault.ts'
import { note, print, printJson, table } from './output.ts'

type Check = { name: string; command: string[]; cwd?: string }

const proto = join(checkout, 'proto')
const checks: readonly Check[] = [
  { name: 'biome', command: ['biome', 'ci', '--colors=off', '.'] },
  { name: 'types', command: ['tsc', '--noEmit', '--pretty', 'false'] },
  { name: 'proto lint', command: ['buf', 'lint'], cwd: proto },
  { name: 'proto format', command: ['buf', 'format', '--exit-code', '--diff'], cwd: proto },
  { name: 'tidy', command: [process.execPath, 'test', './tests/tidy.test.ts'] },
]

type Outcome = { name: string; ok: boolean; elapsedMs: number; output: string }

/** Adds the command to the program. */
export function addCheckCommand(program: Command): void {
  program
    .command('check')
    .description(
      'lint, types, contracts, generated code, the rules of the house, and who may call what',
    )
    .option('--json', 'one line of JSON')
    .action(check)
}

async function check(options: { json?: boolean }): Promise<void> {
  const outcomes: Outcome[] = []
  for (const each of checks) outcomes.push(tell(await runCheck(each)))
  outcomes.push(tell(await checkGenerated()))
  outcomes.push(tell(await checkBreaking()))
  const broken = outcomes.filter((outcome) => !outcome.ok)
  if (options.json === true) {
    const failed = broken.map((outcome) => outcome.name)
    printJson({ ok: broken.length === 0, failed, access: accessRules(), external: externalRules() })
  } else {
    const rules = accessRules()
    print(table(rules.map((rule) => [rule.rpc, rule.callers.join(', '), rule.permission])))
    print(
      '\nOn the gRPC port, with a service token that has the scope; everything else is refused there:',
    )
    print(table(externalRules().map((rule) => [rule.rpc, rule.scope])))
  }
  if (broken.length > 0) {
    throw failed('check_failed', `${broken.length} of ${outcomes.length} checks failed.`)
  }
}

/** Who may call which RPC, and the permission that the person behind the call needs; by the contracts themselves. */
function accessRules() {
  return accessTable().map(({ path, callers, permission }) => ({
    rpc: path,
    callers,
    permission: permission === Permission.UNSPECIFIED ? '' : Permission[permission],
  }))
}

/** What strangers may call, and the least scope that permits it. */
function externalRules() {
  return externalTable().map(({ path, permission }) => ({
    rpc: path,
    scope: scopeFor(permission) ?? '',
  }))
}

function tell(outcome: Outcome): Outcome {
  note(
    `${outcome.ok ? 'ok  ' : 'FAIL'} ${outcome.name}  ${(outcome.elapsedMs / 1000).toFixed(1)} s`,
  )
  if (!outcome.ok) note(outcome.output.trimEnd())
  return outcome
}

async function runCheck({ name, command, cwd = checkout }: Check): Promise<Outcome> {
  const startedAt = performance.now()
  const child = Bun.spawn(command, {
    cwd,
    env: { ...Bun.env, PATH: `${join(checkout, 'node_modules/.bin')}:${Bun.env.PATH ?? ''}` },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ])
  const ok = (await child.exited) === 0
  return { name, ok, elapsedMs: performance.now() - startedAt, output: out + err }
}

/** Generates again and compares with what is committed. */
async function checkGenerated(): Promise<Outcome> {
  const name = 'generated code'
  const generated = await runCheck({ name, command: ['buf', 'generate'], cwd: proto })
  if (!generated.ok) return generated
  const { elapsedMs } = generated
  const changed = await runCheck({
    name,
    command: ['git', 'status', '--porcelain', '--', 'proto/gen'],
  })
  const output = `buf generate changed committed files: commit them.\n${changed.output}`
  return { name, ok: changed.ok && changed.output === '', elapsedMs, output }
}

/** From the first release on, contracts only grow. */
async function checkBreaking(): Promise<Outcome> {
  const name = 'breaking changes'
  const tags = await runCheck({
    name,
    command: ['git', 'tag', '--list', 'v*', '--sort=-v:refname'],
  })
  const newest = tags.output.split('\n')[0] ?? ''
  if (newest === '') return { ...tags, output: '' }
  const against = `../.git#tag=${newest},subdir=proto`
  return runCheck({ name, command: ['buf', 'breaking', '--against', against], cwd: proto })
}
