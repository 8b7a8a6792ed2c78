/** The sandbox key: calls share a process only when server, epoch (so version) and user are the same. */

/** Parts of a key. A new epoch is a new key, so a sandbox never outlives the statement that it was started under. */
export type SandboxKeyParts = {
  serverId: string
  epoch: number
  userId: string
}

/** `srv_…/epoch/usr_…`; ids hold no slash, so the text is unambiguous. */
export function sandboxKey({ serverId, epoch, userId }: SandboxKeyParts): string {
  return `${serverId}/${epoch}/${userId}`
}
