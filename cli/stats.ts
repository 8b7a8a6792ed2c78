/** `stats`: how often the tools of a server were called, how that ended and how long it took. */
import { type CallCountsAnswer, callStatsAnswer, usageAnswer } from '@bmm/spec/rest-answer'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { ask } from './api.ts'
import { print, printJson, table } from './output.ts'
import { signedIn } from './session.ts'
import { dataOption } from './up.ts'

type StatsOptions = { data: string; hours?: number; days?: number; json?: boolean }

const HOUR_MS = 60 * 60 * 1_000
const DEFAULT_HOURS = 24
const MAX_HOURS = 31 * 24
const MAX_DAYS = 400
const KIBIBYTE = 1024
const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

/** Adds the command to the program. */
export function addStatsCommand(program: Command): void {
  program
    .command('stats')
    .description(
      'calls, errors, times and bytes by tool; without a server, what you used this month',
    )
    .argument('[server]', 'slug or id')
    .addOption(
      new Option('--hours <n>', `of the last n hours (${DEFAULT_HOURS})`)
        .argParser(upTo(MAX_HOURS))
        .conflicts('days'),
    )
    .addOption(new Option('--days <n>', 'of the last n days (UTC)').argParser(upTo(MAX_DAYS)))
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(stats)
}

async function stats(slug: string | undefined, options: StatsOptions): Promise<void> {
  const access = signedIn(options.data)
  if (slug === undefined) {
    const usage = await ask(access.gateway, '/v1/usage', usageAnswer, access)
    if (options.json === true) printJson(usage)
    else {
      print(`${usage.month}  ${usage.calls} calls, ${usage.refused} refused`)
      print(`${bytesText(usage.bytesIn)} in, ${bytesText(usage.bytesOut)} out`)
    }
    return
  }
  const path = `/v1/servers/${encodeURIComponent(slug)}/stats?${spanOf(options, Date.now())}`
  const found = await ask(access.gateway, path, callStatsAnswer, access)
  if (options.json === true) {
    printJson(found)
    return
  }
  print(`${found.from} to ${found.to}`)
  if (found.tools.length === 0) print('no calls')
  else
    print(
      table([heading, ...found.tools.map((each) => row(each.tool, each)), row('all', found.total)]),
    )
  const { toolErrors, refused, overdue, cancelled, failed, errors } = found.total
  if (errors === 0) return
  print(
    `errors: ${toolErrors} by tools, ${refused} refused, ${overdue} not in time, ${cancelled} cancelled, ${failed} failed`,
  )
}

/** By hour or by day, from as many whole ones before the one that runs. */
function spanOf({ hours = DEFAULT_HOURS, days }: StatsOptions, now: number): URLSearchParams {
  const lengthMs = days === undefined ? hours * HOUR_MS : days * 24 * HOUR_MS
  return new URLSearchParams({
    from: new Date(now - lengthMs).toISOString(),
    to: new Date(now).toISOString(),
    interval: days === undefined ? 'hour' : 'day',
  })
}

const heading = ['tool', 'calls', 'errors', 'p50', 'p95', 'p99', 'in', 'out']

function row(name: string, counts: CallCountsAnswer): string[] {
  const { calls, errors, p50Ms, p95Ms, p99Ms, bytesIn, bytesOut } = counts
  return [
    ...[name, String(calls), String(errors)],
    ...[p50Ms, p95Ms, p99Ms].map((ms) => `${ms} ms`),
    ...[bytesIn, bytesOut].map(bytesText),
  ]
}

function bytesText(bytes: number): string {
  let amount = bytes
  let unit = 0
  while (amount >= KIBIBYTE && unit < units.length - 1) {
    amount /= KIBIBYTE
    unit++
  }
  return `${unit === 0 ? amount : amount.toFixed(1)} ${units[unit]}`
}

function upTo(limit: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (/^\d{1,4}$/.test(text) && value >= 1 && value <= limit) return value
    throw new InvalidArgumentError(`It is a whole number from 1 to ${limit}.`)
  }
}
