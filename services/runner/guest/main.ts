/** The guest: dials home twice, gives up the right to dial again, then loads and answers one server's tools. */
import { readFileSync } from 'node:fs'
import type { FrameConnection } from '@bmm/lib/frame-connection'
import { connectFrames } from '@bmm/lib/frame-socket'
import { FRAME } from '@bmm/lib/frames'
import { MODULE_FILE, sandboxPaths, slotFiles } from '../sandbox/sandbox-limits.ts'
import { callFrames, createCalls } from './calls.ts'
import { createEgress, egressFrames } from './egress.ts'
import { replaceGlobals } from './globals.ts'
import { rehearse } from './rehearsal.ts'
import { messageOf } from './result.ts'
import { muteOutputs, seal } from './seal.ts'

const PROTOCOL = 1
/** Room for a whole result while another one is being read. */
const QUEUE_LIMIT_BYTES = 24 * 1024 * 1024
/** A sandbox that is not needed until then waits in the pool. */
const REHEARSAL_AFTER_MS = 20

const alike = { onEnd: () => process.exit(0), queueLimitBytes: QUEUE_LIMIT_BYTES }
const tokenIn = (directory: string) => readFileSync(`${directory}/${slotFiles.token}`, 'utf8')

let rehearsing: ReturnType<typeof setTimeout> | undefined
let broker: FrameConnection | undefined
const egress = createEgress(() => {
  if (!broker) throw new Error('the broker is not connected')
  return broker
})
const calls = createCalls(egress, `${sandboxPaths.calls}/${slotFiles.code}/${MODULE_FILE}`)

const runnerToken = tokenIn(sandboxPaths.calls)
const brokerToken = tokenIn(sandboxPaths.egress)
broker = await connectFrames({
  unix: `${sandboxPaths.egress}/${slotFiles.egress}`,
  accept: egressFrames,
  onFrame: egress.onFrame,
  ...alike,
})
const runner = await connectFrames({
  unix: `${sandboxPaths.calls}/${slotFiles.calls}`,
  accept: callFrames,
  onFrame(frame, connection) {
    clearTimeout(rehearsing)
    calls.onFrame(frame, connection)
  },
  ...alike,
})
broker.sendControl(FRAME.HELLO, 0, { token: brokerToken, protocol: PROTOCOL })
runner.sendControl(FRAME.HELLO, 0, { token: runnerToken, protocol: PROTOCOL })

muteOutputs()
seal()
replaceGlobals(calls.log)
// Only now: a fault before this point must end the guest.
process.on('uncaughtException', (error) => calls.log(`uncaught: ${messageOf(error)}`))
process.on('unhandledRejection', (error) => calls.log(`unhandled: ${messageOf(error)}`))
runner.send(FRAME.SEALED, 0)
// Whoever waits for this sandbox does not wait for the rehearsal as well.
rehearsing = setTimeout(() => rehearse(sandboxPaths.rehearsal), REHEARSAL_AFTER_MS)
