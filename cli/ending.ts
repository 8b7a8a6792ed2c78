/** How a command ends that did not succeed: what is said, and the exit code. */
import { reasonOf } from '@bmm/lib/errors'
import { ConnectError } from '@connectrpc/connect'
import { CommanderError } from 'commander'
import { CommandFault, EXIT_FAILED, EXIT_USAGE, failed } from './fault.ts'
import { note, printFault } from './output.ts'

/** Says what went wrong and returns the exit code. */
export function endingOf(error: unknown, how: { json: boolean; data: string | undefined }): number {
  // Commander has said what is wrong by itself; asking for help is no fault.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE
  const fault = faultOf(error)
  if (fault !== undefined) {
    printFault(fault, how)
    return fault.exitCode
  }
  note(`bmm: this is a bug: ${error instanceof Error ? (error.stack ?? error.message) : error}`)
  return EXIT_FAILED
}

function faultOf(error: unknown): CommandFault | undefined {
  if (error instanceof CommandFault) return error
  if (!(error instanceof ConnectError)) return systemFault(error)
  const reason = reasonOf(error)
  return reason === undefined
    ? failed('service_failed', `The service failed: ${error.rawMessage}`)
    : failed(reason, error.rawMessage)
}

const systemSentences: Readonly<Record<string, string>> = {
  EACCES: 'you may not use it: run this as the user who started the stack',
  EPERM: 'the system does not permit it',
  EEXIST: 'something else is there already',
  ENOTDIR: 'a part of the path is no folder',
  ENOSPC: 'the disk is full',
  EROFS: 'the disk is read-only',
}

/** What the operating system refused, where that is nobody's bug. */
function systemFault(error: unknown): CommandFault | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  const sentence = systemSentences[String(error.code)]
  const path = 'path' in error ? `${error.path}: ` : ''
  return sentence === undefined ? undefined : failed('system_refused', `${path}${sentence}.`)
}
