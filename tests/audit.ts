/** What must be true of a stack when nothing is under way, looked for in its tables, its processes and its folders. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Sql } from '@bmm/lib/sql'
import { supervisorPid } from './children.ts'
import { emptyGroups } from './control-groups.ts'
import { guestProcesses, parentOf, processes, stackGroup } from './processes.ts'
import type { Stack } from './stack.ts'
import { openStackSql } from './traces.ts'

type Check = (sql: Sql) => Promise<{ id: string }[]>

/** Each lists what breaks the rule that its name states. */
const checks: Record<string, Check> = {
  'a build has ended': (sql) => sql`
    select id from generator.builds where state in ('queued', 'running')`,
  'no step of a build runs': (sql) => sql`
    select build_id || ' ' || step as id from generator.build_steps where state = 'running'`,
  'events of a build have no gaps': (sql) => sql`
    select id from generator.builds where last_seq <> (
      select count(*) from generator.build_events where build_id = builds.id)`,
  'a server is built or gone': (sql) => sql`
    select id from generator.servers where state in ('building', 'deleting')`,
  'a stop is finished': (sql) => sql`
    select server_id as id from generator.stops where finished_at is null`,
  'a live server is signed, fed and deployed at one epoch': (sql) => sql`
    select servers.id from generator.servers
    left join generator.servings on servings.server_id = servers.id
    left join secrets.servers signed on signed.server_id = servers.id
    left join runner.deployments on deployments.server_id = servers.id
    where servers.state in ('live', 'paused') and (
      servings.epoch is distinct from signed.epoch
      or deployments.epoch is distinct from signed.epoch
      or (deployments.spec is null) = (servers.state = 'live'))`,
  'a deleted server leaves a tombstone': (sql) => sql`
    select id from generator.servers where state = 'deleted' and (
      exists (select 1 from generator.versions where server_id = servers.id)
      or exists (select 1 from generator.modules where server_id = servers.id)
      or exists (select 1 from generator.idempotency_keys where server_id = servers.id)
      or exists (select 1 from runner.deployments where server_id = servers.id and spec is not null)
      or exists (select 1 from runner.run_lines where server_id = servers.id)
      or exists (select 1 from secrets.secrets where server_id = servers.id)
      or exists (select 1 from auth.grants where server_id = servers.id and revoked_at is null))`,
  'a credential belongs to a server': (sql) => sql`
    select server_id as id from secrets.secrets
    where server_id not in (select id from generator.servers where state <> 'deleted')`,
  'a deployment belongs to a server': (sql) => sql`
    select server_id as id from runner.deployments
    where server_id not in (select id from generator.servers)`,
  'a version has one confirmation, used once': (sql) => sql`
    select epoch::text as id from secrets.confirmations where epoch is not null
    group by server_id, epoch having count(*) > 1`,
  'a grant has one refresh token that is good': (sql) => sql`
    select grant_id as id from auth.refresh_tokens join auth.grants on grants.id = grant_id
    where consumed_at is null and revoked_at is null group by grant_id having count(*) > 1`,
  'an ended grant is told to gateways': (sql) => sql`
    select id from auth.grants where revoked_at is not null
      and id not in (select grant_id from auth.revocations)`,
}

/** What is wrong, as sentences; empty when nothing is. */
export async function auditTables(stack: Stack): Promise<string[]> {
  const sql = openStackSql(stack)
  try {
    const found: string[] = []
    for (const [rule, check] of Object.entries(checks)) {
      for (const { id } of await check(sql)) found.push(`not so: ${rule} (${id})`)
    }
    return found
  } finally {
    await sql.end({ timeout: 5 })
  }
}

/** Errors that no code foresaw: each service logs them as such. */
export function auditLogs(stack: Stack): string[] {
  const logs = join(stack.data, 'logs')
  return readdirSync(logs).flatMap((name) =>
    readFileSync(join(logs, name), 'utf8')
      .split('\n')
      .filter((line) => /"level":"(error|fatal)"/.test(line))
      .map((line) => `${name}: ${/"message":"[^"]*"/.exec(line)?.[0]} ${line.slice(0, 1_000)}`),
  )
}

/** Processes, control groups, sockets and mounts of the stack that nobody looks after. */
export async function auditProcesses(stack: Stack): Promise<string[]> {
  const guests = new Set(await guestProcesses(stack))
  return [
    ...strays(stack),
    ...emptyGroups(stackGroup(stack), guests).map(
      (group) => `nothing is in control group ${group}`,
    ),
    ...leftSockets(stack),
    ...(readQuietly('/proc/self/mounts').includes(dirname(stack.mailbox))
      ? ['a mount is left']
      : []),
  ]
}

/** Processes that have the run directory in their command, or a sandbox's group, and do not descend from the supervisor. */
function strays(stack: Stack): string[] {
  const [run, group] = [dirname(stack.mailbox), stackGroup(stack)]
  const supervisor = supervisorPid(stack)
  return processes()
    .filter(({ pid }) => pid !== process.pid)
    .filter(({ command, cgroups }) => command.includes(run) || cgroups.includes(`/${group}/`))
    .filter(({ pid }) => !descendsFrom(pid, supervisor))
    .map(({ pid, command }) => `process ${pid} is nobody's child: ${command.slice(0, 200)}`)
}

function descendsFrom(pid: number, ancestor: number): boolean {
  for (let current = pid; current > 1; ) {
    if (current === ancestor) return true
    const parent = parentOf(current)
    // It ended while it was looked at.
    if (parent === undefined || Number.isNaN(parent)) return true
    current = parent
  }
  return false
}

/** Listeners close at the first connection: a pooled or assigned slot has no socket any more. */
function leftSockets(stack: Stack): string[] {
  const slots = join(dirname(stack.mailbox), 'slots')
  return readdirSync(slots).flatMap((slot) =>
    ['c', 'e'].flatMap((side) =>
      readdirSync(join(slots, slot, side)).map((name) => `slot ${slot} has a ${name} in ${side}`),
    ),
  )
}

function readQuietly(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
