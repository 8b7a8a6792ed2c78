/** The names that the rules over code know, each with its rule and the way out. */
import type { CodeRule } from './finding.ts'

/** Globals that a tool never needs, with the rule and the way out. */
export const bannedGlobals = new Map<string, [CodeRule, string]>([
  ['eval', ['eval', 'eval runs text as code. Write the code itself.']],
  ['Function', ['function_constructor', 'Function(…) runs text as code. Write the code itself.']],
  ['require', ['require', 'A tool cannot load modules: require is not there.']],
  ['module', ['require', 'A tool is no module: module is not there.']],
  [
    'process',
    [
      'host_object',
      'process is not there. Credentials are put in by the platform, never read by code.',
    ],
  ],
  ['Bun', ['host_object', 'Bun is not there. Use ctx.fetch for requests.']],
  ['Deno', ['host_object', 'Deno is not there. Use ctx.fetch for requests.']],
  ['WebAssembly', ['host_object', 'WebAssembly brings in code that nobody has read.']],
  ['Worker', ['host_object', 'A tool cannot start workers.']],
  ['ShadowRealm', ['host_object', 'A tool cannot make another realm.']],
  ['importScripts', ['require', 'A tool cannot load scripts.']],
])
export const globalObjects = new Set(['globalThis', 'global', 'self', 'window'])
export const timers = new Set(['setTimeout', 'setInterval', 'setImmediate'])
export const harmlessReflection = new Set(['ownKeys', 'has'])

/** Property names with a rule of their own, wherever they stand. */
export const bannedMembers = new Map<string, [CodeRule, string]>([
  ['__proto__', ['prototype', '__proto__ reaches into the prototype chain.']],
  ['__defineGetter__', ['prototype', '__defineGetter__ changes objects behind their back.']],
  ['__defineSetter__', ['prototype', '__defineSetter__ changes objects behind their back.']],
  ['__lookupGetter__', ['prototype', '__lookupGetter__ reaches into the prototype chain.']],
  ['__lookupSetter__', ['prototype', '__lookupSetter__ reaches into the prototype chain.']],
  ['setPrototypeOf', ['prototype', 'setPrototypeOf changes the prototype chain.']],
  ['_load', ['module_load', '_load is a way to load modules.']],
  ['_linkedBinding', ['module_load', '_linkedBinding is a way to load native code.']],
  ['dlopen', ['module_load', 'dlopen loads native code.']],
  ['mainModule', ['module_load', 'mainModule is a way to load modules.']],
  ['createRequire', ['module_load', 'createRequire is a way to load modules.']],
  ['getBuiltinModule', ['module_load', 'getBuiltinModule is a way to load modules.']],
  ['runInThisContext', ['vm_run', 'runInThisContext runs text as code.']],
  ['runInNewContext', ['vm_run', 'runInNewContext runs text as code.']],
  ['runInContext', ['vm_run', 'runInContext runs text as code.']],
  ['compileFunction', ['vm_run', 'compileFunction runs text as code.']],
])
/** Members that are only dangerous when called. */
export const bannedCalls = new Map<string, [CodeRule, string]>([
  ['eval', ['eval', 'eval runs text as code. Write the code itself.']],
  ['require', ['require', 'A tool cannot load modules.']],
  ['binding', ['module_load', 'binding(…) loads native code.']],
])
export const unsupported = new Map([
  ['Decorator', 'Decorators are not supported.'],
  ['TSModuleDeclaration', 'Namespaces are not supported.'],
  ['TSImportEqualsDeclaration', 'A tool cannot load modules.'],
  ['TSExportAssignment', 'A tool exports nothing.'],
  ['ImportDeclaration', 'A tool cannot import modules.'],
  ['ExportNamedDeclaration', 'A tool exports nothing.'],
  ['ExportDefaultDeclaration', 'A tool exports nothing.'],
  ['ExportAllDeclaration', 'A tool exports nothing.'],
])
/** Words that nobody builds without a reason to hide them. */
export const hiddenWords = new Set([
  ...bannedMembers.keys(),
  'eval',
  'constructor',
  'getPrototypeOf',
  'globalThis',
  'Reflect',
])
/** Words that are honest values too (`fields.join()`), but that nobody takes apart by `+`. */
export const splitWords = new Set([...hiddenWords, ...bannedGlobals.keys()])
