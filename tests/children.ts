/** The processes that a supervisor keeps: which they are now, killing one, and waiting until all is well again. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '@bmm/lib/testing-until'
import { ask } from './account.ts'
import type { Stack } from './stack.ts'

const WAIT_MS = 60_000

export const children = [
  ...['auth', 'secrets', 'generator', 'runner', 'broker', 'keeper', 'gateway'],
  ...['redis', 'postgres'],
] as const

/** The pid that a child has now; undefined between its end and its next start. */
export function childPid(stack: Stack, name: string): number | undefined {
  const log = readFileSync(join(stack.data, 'logs', 'supervisor.log'), 'utf8')
  const started = log
    .split('\n')
    .findLast((line) => line.includes(`"kind":"started","name":"${name}"`))
  const pid = Number(/"pid":(\d+)/.exec(started ?? '')?.[1])
  return existsSync(`/proc/${pid}`) ? pid : undefined
}

/** The pid of a child that must be running. */
export function runningChild(stack: Stack, name: string): number {
  const pid = childPid(stack, name)
  if (pid === undefined) throw new Error(`${name} does not run`)
  return pid
}

export function supervisorPid(stack: Stack): number {
  return Number(readFileSync(join(stack.data, 'lock.pid'), 'utf8'))
}

/** SIGKILL; resolves when another process has taken its place. */
export async function replaced(stack: Stack, name: string): Promise<void> {
  const pid = runningChild(stack, name)
  process.kill(pid, 'SIGKILL')
  const isBack = () => ![undefined, pid].includes(childPid(stack, name))
  await until(isBack, `${name} comes back`, WAIT_MS)
}

/** Whether the stack says that every part of it works. */
export async function isReady(stack: Stack): Promise<boolean> {
  const answer = await ask(`${stack.gateway}/health/ready`, 'GET').catch(() => undefined)
  return answer?.status === 200
}
