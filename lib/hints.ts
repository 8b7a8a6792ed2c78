/** What services tell each other through Redis: channels that say "look again", and the marks of ended grants. */

/** Each message is the id of what changed; nothing is lost by missing one. */
export const channels = {
  serverUpdated: 'bmm:server.updated',
  buildStep: 'bmm:build.step',
  tokenRevoked: 'bmm:token.revoked',
} as const

/** Set to any value while access tokens of this ended grant could still be presented. */
export function revokedKey(grantId: string): string {
  return `bmm:revoked:${grantId}`
}
