/** Which role may do what in an organisation (product requirement I4): one table. */
import { Permission } from '@bmm/proto/v1/options'

export type Role = 'owner' | 'admin' | 'builder' | 'viewer' | 'billing'

const viewer = [
  Permission.SERVERS_READ,
  Permission.CREDENTIALS_READ,
  Permission.LOGS_READ,
  Permission.STATS_READ,
]
const builder = [...viewer, Permission.SERVERS_WRITE, Permission.CREDENTIALS_WRITE]

const permissions: Record<Role, ReadonlySet<Permission>> = {
  owner: new Set(builder),
  admin: new Set(builder),
  builder: new Set(builder),
  viewer: new Set(viewer),
  billing: new Set([Permission.STATS_READ]),
}

/** Whether that role has the permission; an unknown role has none. */
export function roleHas(role: string, permission: Permission): boolean {
  return Object.hasOwn(permissions, role) && permissions[role as Role].has(permission)
}
