/** The module of the rehearsal: laid into the root file system, because a sandbox loads code from files only. */

export const rehearsalModule = 'export const tools = { code: async (input, ctx) => input.text }\n'
