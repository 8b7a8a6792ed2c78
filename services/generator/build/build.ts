/** What a build is: its steps in order, its states, and the ways in which it ends (pure). */

export type BuildStep = 'resolve' | 'scan' | 'compile' | 'try' | 'sign' | 'deploy'
export type BuildState = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled'
export type StepState = Exclude<BuildState, 'queued'>

export function isFinished(state: BuildState): boolean {
  return state === 'succeeded' || state === 'failed' || state === 'cancelled'
}

/** The build failed by what it builds or by what it needs; reason and sentence are for the person. */
export class BuildFailure extends Error {
  override readonly name = 'BuildFailure'

  constructor(
    readonly reason: string,
    message: string,
  ) {
    super(message)
  }
}

/** Why a worker lets go of a build. Only a cancelled and a late build are finished by that. */
export type LetGo = 'cancelled' | 'timed_out' | 'lease_lost' | 'stopping'

export class BuildLetGo extends Error {
  override readonly name = 'BuildLetGo'

  constructor(readonly why: LetGo) {
    super(`the build is let go: ${why}`)
  }
}
