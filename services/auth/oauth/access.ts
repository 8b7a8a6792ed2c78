/** Who may use a server: the access rule that the gateway passes along, decided for one person as they are now. */
import type { Querying } from '@bmm/lib/sql'
import { accessSchema, mayUse } from '@bmm/spec/statement'
import { listOrgIdsOfUser } from '../sign-in/account-store.ts'
import type { Resource } from './authorization-request.ts'

/** Throws when the rule is none: one that nobody can read lets nobody in. */
export async function mayUseResource(
  sql: Querying,
  { access, orgId }: Resource,
  userId: string,
): Promise<boolean> {
  const rule = accessSchema.parse(JSON.parse(access))
  return mayUse(rule, orgId, { userId, orgIds: await listOrgIdsOfUser(sql, userId) })
}
