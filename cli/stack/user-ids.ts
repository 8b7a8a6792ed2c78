/** Which numeric users a stack's processes run as: a block of its own on this machine, claimed by its data directory. */
import { rmSync } from 'node:fs'
import { claimNumber } from './claims.ts'
import { pathsOf, stateRoot } from './paths.ts'

/** Far above what distributions and directories hand out, below the limit of a signed 32-bit number. */
const FIRST_USER = 0x70000000
const USERS_PER_BLOCK = 1024
const BLOCKS = 0x40000
/** The block below the first: for databases of test runs, which belong to no stack. */
const TEST_BASE = FIRST_USER - USERS_PER_BLOCK
/** Behind the processes; the rest of the block are slots (services/runner/sandbox/sandbox-limits.ts). */
const FIRST_SLOT = 64

/** Processes with a user of their own, in the order of their numbers; the first number is the shared group's. */
const owners = [
  'auth',
  'secrets',
  'generator',
  'runner',
  'broker',
  'gateway',
  'redis',
  'postgres',
] as const
export type ProcessUser = (typeof owners)[number]

export type UserIds = {
  first: number
  /** The group of all services: whoever is in it may connect to their sockets. */
  group: number
  of(owner: ProcessUser): number
  /** First user of the sandboxes' slots. */
  slots: number
  /** Whether a process of this user belongs to this stack. */
  includes(user: number): boolean
}

/** The users of a block that starts at `first`. */
export function userIds(first: number): UserIds {
  return {
    first,
    group: first,
    of: (owner) => first + 1 + owners.indexOf(owner),
    slots: first + FIRST_SLOT,
    includes: (user) => user >= first && user < first + USERS_PER_BLOCK,
  }
}

export const testUserIds = userIds(TEST_BASE)

/**
 * The block of a data directory: the one that it has, else the first free one. What sandboxes of a data
 * directory that is gone saw as their root goes with its claim.
 */
export function claimUserIds(data: string): UserIds {
  const block = claimNumber({
    kind: 'uids',
    data,
    choose: freeBlock,
    keep: true,
    onGone: (gone) => rmSync(pathsOf(gone).state, { recursive: true, force: true }),
  })
  return userIds(FIRST_USER + block * USERS_PER_BLOCK)
}

function freeBlock(taken: ReadonlySet<number>): number {
  for (let block = 0; block < BLOCKS; block++) if (!taken.has(block)) return block
  throw new Error(`all ${BLOCKS} blocks of users are claimed in ${stateRoot}/uids`)
}
