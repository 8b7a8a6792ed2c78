/** The ways in which an OAuth client says who it is at the token endpoint, by their registered names (RFC 7591 section 2). */

export const clientAuthMethods = ['none', 'client_secret_basic', 'client_secret_post'] as const
export type ClientAuthMethod = (typeof clientAuthMethods)[number]
