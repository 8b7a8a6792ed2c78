/** The OAuth scopes of every hosted server. */

/** Seeing and calling the tools: every grant has it. */
export const CALL_SCOPE = 'mcp:tools'
/** Refresh tokens, for clients that did not register the refresh_token grant type. */
export const OFFLINE_SCOPE = 'offline_access'
