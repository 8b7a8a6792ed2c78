/** Attempts in the language itself: patched built-ins, odd results, other ways out, and ends of the process. */
import type { Attempt, Group } from './attempt.ts'

const self: readonly Attempt[] = [
  {
    intent: 'change what every object inherits',
    code: `Object.prototype.isError = true; Object.prototype.content = [{ type: 'text', text: 'forged' }]; Array.prototype.at = () => 'forged'; return 'own'`,
    seen: { answer: 'own' },
  },
  {
    intent: 'give an object a prototype by JSON',
    code: `const seen = JSON.parse('{"__proto__": {"isAdmin": true}, "constructor": {"prototype": {"isAdmin": true}}}'); return [({}).isAdmin === undefined, Object.keys(seen)]`,
    seen: { answer: [true, ['__proto__', 'constructor']] },
  },
  {
    intent: 'make its result say what it wants by a getter that throws',
    code: `return { get secret() { throw new Error('from a getter') } }`,
    seen: { error: /from a getter/ },
  },
  {
    intent: 'make its result a proxy that never ends',
    code: `return JSON.stringify(new Proxy({}, { ownKeys: () => { throw new Error('from a proxy') } }))`,
    seen: { error: /from a proxy/ },
  },
  {
    intent: 'answer in circles',
    code: `const circle = {}; circle.circle = circle; return circle`,
    seen: { error: /cyclic/ },
  },
  {
    intent: 'answer with members of JSON-RPC',
    code: `return { jsonrpc: '2.0', id: 1, error: { code: -32000, message: 'forged' }, result: {} }`,
    seen: {
      answer: { jsonrpc: '2.0', id: 1, error: { code: -32000, message: 'forged' }, result: {} },
    },
  },
  {
    intent: 'load the guest a second time',
    code: `return tried(async () => { await import('/app/guest.js?again') })`,
    seen: { refused: true },
  },
  {
    intent: 'reach a network by Bun',
    code: `return tried(() => Bun.fetch('http://127.0.0.1:1/'), () => Bun.fetch('http://169.254.169.254/latest/meta-data/'), () => Bun.fetch('http://[::1]:22/'), () => Bun.fetch('http://localhost/', { unix: '/run/bmm/c/call.sock' }),
        () => Bun.connect({ hostname: '127.0.0.1', port: 22, socket: { data() {} } }), () => Bun.connect({ unix: '/run/bmm/e/egress.sock', socket: { data() {} } }),
        () => Bun.serve({ port: 0, fetch: () => new Response() }).port, () => Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } }), () => Bun.udpSocket({}))`,
    seen: { refused: true },
  },
  {
    intent: 'reach a network by Node',
    code: `const [net, dgram, dns, http, http2, tls, inspector] = await Promise.all(['net', 'dgram', 'dns/promises', 'http', 'http2', 'tls', 'inspector'].map((name) => import('node:' + name)))
      const until = (emitter, event) => new Promise((resolve, reject) => { emitter.once(event, () => resolve('done')).once('error', reject) })
      return tried(() => until(net.connect({ host: '127.0.0.1', port: 22 }), 'connect'), () => until(net.connect({ path: '/run/bmm/c/call.sock' }), 'connect'), () => dns.lookup('example.com'), () => dns.resolve4('example.com'),
        () => until(http.get('http://127.0.0.1:1/'), 'response'), () => until(http2.connect('http://127.0.0.1:1'), 'connect'), () => until(tls.connect(443, '127.0.0.1'), 'secureConnect'),
        () => until(net.createServer().listen(0), 'listening'), () => { const socket = dgram.createSocket('udp4'); const bound = until(socket, 'listening'); socket.bind(0); return bound })`,
    seen: { refused: true },
  },
  {
    intent: 'find a network where the web has one',
    code: `return tried(() => fetch('https://example.com'), () => new WebSocket('wss://example.com'), () => new EventSource('https://example.com'), () => new XMLHttpRequest(), () => navigator.sendBeacon('https://example.com'),
        () => import('https://example.com/x.js'), () => import('left-pad'), () => new Worker('https://example.com/x.js') && Promise.reject(new Error('nothing was fetched')))`,
    seen: { refused: true },
  },
  {
    intent: 'kill all that it can name',
    // Nobody but itself, which as the first of its namespace does not hear it.
    code: `for (const pid of [0, -1, process.pid]) for (const signal of ['SIGKILL', 'SIGSEGV', 'SIGSTOP']) { try { process.kill(pid, signal) } catch {} } return 'alive'`,
    seen: { answer: 'alive' },
  },
  {
    intent: 'leave errors behind that nobody catches',
    code: `setTimeout(() => { throw new Error('stray') }, 0); Promise.reject(new Error('lost')); queueMicrotask(() => { throw new Error('micro') }); await Bun.sleep(50); return 'alive'`,
    seen: { answer: 'alive' },
  },
  {
    intent: 'take away the handlers that catch them',
    code: `process.removeAllListeners('uncaughtException'); process.removeAllListeners('unhandledRejection'); setTimeout(() => { throw new Error('stray') }, 0); await forever()`,
    seen: { ends: ['exited', 'protocol'] },
  },
  {
    intent: 'go on working after it has answered',
    code: `setInterval(() => { for (let n = 0; n < 1e5; n++); }, 1); setTimeout(() => ctx.log('after the answer'), 20); setTimeout(() => ctx.progress(1), 20); return 'answered'`,
    seen: { answer: 'answered' },
  },
  {
    intent: 'keep the language from ending its own calls',
    code: `globalThis.setTimeout = () => 0; globalThis.clearTimeout = () => {}; Date.now = () => 0; performance.now = () => 0; AbortController.prototype.abort = () => {}; await forever()`,
    seen: { ends: ['deadline', 'heartbeat'] },
    timeoutMs: 1_500,
  },
  {
    intent: 'listen to every promise and every byte of its sandbox',
    code: `const loot = []; const then = Promise.prototype.then; Promise.prototype.then = function (...given) { loot.push(String(this)); return then.apply(this, given) }
      for (const name of ['decode']) { const real = TextDecoder.prototype[name]; TextDecoder.prototype[name] = function (...given) { const text = real.apply(this, given); loot.push(text); return text } }
      await Bun.sleep(100); return loot.filter((text) => text.includes('still here'))`,
    seen: { answer: [] },
  },
  {
    intent: 'show paths and code of the host by stacks',
    code: `const stacks = []; Error.prepareStackTrace = (error, sites) => sites.map((site) => site.getFileName?.() ?? '').join()
      for (const throwing of [() => null.x, () => ctx.progress('x'), () => ctx.result('x'), () => JSON.parse('{')]) { try { throwing() } catch (error) { stacks.push(String(error.stack)) } }
      return stacks.join('\\n').match(/\\/(?:root|home|var|work|usr|opt)\\/\\S*/g) ?? []`,
    seen: { answer: [] },
  },
]

/** Ways to turn text into code after the tools were loaded, by what they use. */
const textAsCode: readonly [string, readonly string[]][] = [
  ['eval', ["eval('1')", "(0, eval)('1')", "Reflect.apply(eval, undefined, ['1'])"]],
  [
    'the four constructors of functions',
    [
      "Function('return 1')",
      "new Function('return 1')",
      "(() => {}).constructor('return 1')",
      "(async () => {}).constructor('return 1')",
      "(function* () {}).constructor('yield 1')",
      "(async function* () {}).constructor('yield 1')",
      "Reflect.construct(Function, ['return 1'], class {})",
      "new (class extends Function { constructor() { super('return 1') } })()",
      "ctx.fetch.constructor('return 1')",
      "['constructor', 'constructor'].reduce((at, key) => at[key], {})('return 1')",
    ],
  ],
  ['timers that take text', ["setTimeout('1')", "setInterval('1')", "setImmediate('1')"]],
  [
    'another realm',
    [
      "new ShadowRealm().evaluate('1')",
      "new ShadowRealm().importValue('data:text/javascript,export const a = 1', 'a')",
    ],
  ],
  [
    'the modules of Node that compile',
    [
      "(await import('node:vm')).runInThisContext('1')",
      "(await import('node:vm')).runInNewContext('1')",
      "new (await import('node:vm')).Script('1').runInThisContext()",
      "(await import('node:vm')).compileFunction('return 1')",
      "new (await import('node:vm')).SourceTextModule('1')",
      "new (await import('node:module')).default('x')._compile('1', '/x.js')",
      "process.getBuiltinModule('vm').runInThisContext('1')",
    ],
  ],
  [
    'imports and workers of URLs that hold text',
    [
      "await import('data:text/javascript,export default 1')",
      "await import(URL.createObjectURL(new Blob(['export default 1'], { type: 'text/javascript' })))",
      "new Worker(URL.createObjectURL(new Blob(['1'], { type: 'text/javascript' })))",
      "new Worker('data:text/javascript,1')",
      "new (await import('node:worker_threads')).Worker('1', { eval: true })",
      "(Bun.plugin({ name: 'x', setup(build) { build.module('virtual', () => ({ contents: 'export default 1', loader: 'js' })) } }), await import('virtual'))",
    ],
  ],
  [
    'WebAssembly and compilers',
    [
      'new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]))',
      'await WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]))',
      "(await import('bun:ffi')).cc({ source: '/run/bmm/c/x.c', symbols: {} })",
    ],
  ],
]

/** Ends of the process, each of which must take nobody along. */
const ends: readonly [string, string][] = [
  ['exit', 'process.exit(0)'],
  ['exit as if it had failed', 'process.exit(3)'],
  ['abort', 'process.abort()'],
  ['read where nothing is', 'read.u8(8, 0)'],
  ['jump where nothing is', "new CFunction({ ptr: 16, args: [], returns: 'void' })()"],
  ['break into a debugger', "process.kill(process.pid, 'SIGTRAP'); process.exit(1)"],
]

export const language: Group = {
  name: 'language',
  attempts: [
    ...textAsCode.map(
      ([means, ways]): Attempt => ({
        intent: `run text as code by ${means}`,
        code: `return tried(${ways.map((way) => `async () => ${way}`).join(', ')})`,
        seen: { refused: true },
      }),
    ),
    ...self.map((attempt): Attempt => ({ ...attempt, alone: true })),
    ...ends.map(
      ([intent, code]): Attempt => ({
        intent,
        code: `${code}\n await forever()`,
        seen: { ends: ['exited', 'protocol'] },
        alone: true,
      }),
    ),
    {
      intent: 'overwrite its own memory',
      code: `new Uint8Array(toArrayBuffer(ptr(new Uint8Array(8)), 0, 1 << 28)).fill(0xcc)
      await forever()`,
      // It comes to a hole, or where all of that is mapped to the limit.
      seen: { ends: ['exited', 'protocol', 'oom'] },
      alone: true,
    },
  ],
}
