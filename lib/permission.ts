/** Who may do what in an organisation: people by their role, service tokens by their scopes besides. */
import { Permission } from '@bmm/proto/v1/options'

export type Role = 'owner' | 'admin' | 'builder' | 'viewer' | 'billing'

const viewer = [
  Permission.SERVERS_READ,
  Permission.CREDENTIALS_READ,
  Permission.LOGS_READ,
  Permission.STATS_READ,
  Permission.TOOLS_CALL,
]
const builder = [...viewer, Permission.SERVERS_WRITE, Permission.CREDENTIALS_WRITE]

const permissions: Record<Role, ReadonlySet<Permission>> = {
  owner: new Set(builder),
  admin: new Set(builder),
  builder: new Set(builder),
  viewer: new Set(viewer),
  // Who may call a server says its access rule, and its organisation is all of its members.
  billing: new Set([Permission.STATS_READ, Permission.TOOLS_CALL]),
}

/** Whether that role has the permission; an unknown role has none. */
export function roleHas(role: string, permission: Permission): boolean {
  return Object.hasOwn(permissions, role) && permissions[role as Role].has(permission)
}

/** What a scope of a service token permits, if its person may. Whoever handles a part of a server also sees the server. */
const scopes = {
  'servers:read': [Permission.SERVERS_READ],
  'servers:write': [Permission.SERVERS_READ, Permission.SERVERS_WRITE],
  'credentials:read': [Permission.SERVERS_READ, Permission.CREDENTIALS_READ],
  'credentials:write': [
    Permission.SERVERS_READ,
    Permission.CREDENTIALS_READ,
    Permission.CREDENTIALS_WRITE,
  ],
  'logs:read': [Permission.SERVERS_READ, Permission.LOGS_READ],
  'stats:read': [Permission.SERVERS_READ, Permission.STATS_READ],
  'tools:call': [Permission.TOOLS_CALL],
} as const satisfies Record<string, readonly Permission[]>

export type Scope = keyof typeof scopes

/** All scopes, in the order in which people read them. */
export const scopeNames = Object.keys(scopes) as Scope[]

export function isScope(text: string): text is Scope {
  return Object.hasOwn(scopes, text)
}

/** Whether one of the scopes has the permission; unknown scopes have none, and nothing has the unspecified one. */
export function scopesHave(names: readonly string[], permission: Permission): boolean {
  return names.some((name) => isScope(name) && scopeHas(name, permission))
}

/** The scope to ask for where this permission is missing: the one that gives least beside it. */
export function scopeFor(permission: Permission): Scope | undefined {
  return scopeNames
    .filter((name) => scopeHas(name, permission))
    .sort((a, b) => scopes[a].length - scopes[b].length)[0]
}

function scopeHas(name: Scope, permission: Permission): boolean {
  const given: readonly Permission[] = scopes[name]
  return given.includes(permission)
}
