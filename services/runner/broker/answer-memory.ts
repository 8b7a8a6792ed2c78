/** Memory of answers that no sandbox has taken yet: bounded for each sandbox, for each organisation and in all. */

export type AnswerLimits = { perSandbox: number; perOrg: number; total: number }

export type AnswerMemory = {
  /** Of one request of the sandbox; `release` gives all of it back. */
  hold(sandbox: SandboxAnswers, orgId: string): HeldMemory
  readonly bytes: number
}

/** Received bytes of a sandbox's answers that are not delivered yet. */
export type SandboxAnswers = { answerBytes: number }

export type HeldMemory = {
  /** False where it would be too much; then nothing is counted. */
  reserve(bytes: number): boolean
  release(): void
}

export function createAnswerMemory(limits: AnswerLimits): AnswerMemory {
  const ofOrgs = new Map<string, number>()
  let total = 0

  function count(sandbox: SandboxAnswers, orgId: string, bytes: number): void {
    total += bytes
    sandbox.answerBytes += bytes
    const ofOrg = (ofOrgs.get(orgId) ?? 0) + bytes
    if (ofOrg > 0) ofOrgs.set(orgId, ofOrg)
    else ofOrgs.delete(orgId)
  }

  return {
    hold(sandbox, orgId) {
      let held = 0
      return {
        reserve(bytes) {
          if (total + bytes > limits.total) return false
          if ((ofOrgs.get(orgId) ?? 0) + bytes > limits.perOrg) return false
          if (sandbox.answerBytes + bytes > limits.perSandbox) return false
          held += bytes
          count(sandbox, orgId, bytes)
          return true
        },
        release() {
          count(sandbox, orgId, -held)
          held = 0
        },
      }
    },
    get bytes() {
      return total
    },
  }
}
