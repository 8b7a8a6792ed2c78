/** Who may use a server: the access rule of its statement, decided for one person. */
import { type Access, accessSchema } from '@bmm/spec/statement'

export type Person = { userId: string; memberOf: ReadonlySet<string> }

/** The rule behind its JSON. Throws when it is not one: a rule that nobody can read lets nobody in. */
export function accessFromJson(json: string): Access {
  return accessSchema.parse(JSON.parse(json))
}

/** Whether the person may use a server of that organisation under that rule (product requirement G0). */
export function mayUse(access: Access, serverOrgId: string, person: Person): boolean {
  switch (access.kind) {
    case 'org':
      return person.memberOf.has(serverOrgId)
    case 'people':
      return access.people.includes(person.userId)
    case 'anyone':
      return true
    default:
      return access satisfies never
  }
}
