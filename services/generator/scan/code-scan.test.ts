/** Every rule over code: attempts that must be found, and honest code beside them that must pass. */
import { describe, expect, test } from 'bun:test'
import { scanCode } from './code-scan.ts'
import { type CodeRule, codeRules } from './finding.ts'

const backslash = String.fromCharCode(92)

const hits: Record<CodeRule, string[]> = {
  not_one_function: [
    '}), evil(async () => {',
    '}); globalThis.x = 1; (async () => {',
    '}, 1); (async (input, ctx) => {',
    'return 1 }) && (async (input, ctx) => {',
    '} ); export const other = (async (input, ctx) => {',
  ],
  unreadable_code: [
    'return (',
    '/* no end',
    '['.repeat(20_000) + ']'.repeat(20_000),
    'namespace N { export const a = 1 }',
    'const a = 1; const a = 2',
    'with (input) { x }',
  ],
  unsupported_syntax: ['@x class A {}', 'import fs from "fs"'],
  eval: [
    'eval("1")',
    'return (0, eval)("1")',
    `return ${backslash}u0065val("1")`,
    `return ${backslash}u{65}val("1")`,
    'const e = eval; e("1")',
    'return globalThis.eval("1")',
    'return input.window.eval("1")',
    "const word = 'ev' + 'al'; return word",
    "const a = 'ev'; const b = 'al'; return input[a + b]",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the attempt is a template
    "const a = 'al'; return `ev${a}`",
    'return eval`1`',
    'const run = (e = eval) => { return e("1") }; return run()',
    "return ['e', 'v', 'a', 'l'].join('')",
    "return 'lave'.split('').reverse().join('')",
    'return String.fromCharCode(101, 118, 97, 108)',
    'return String.fromCharCode(...[101, 118, 97, 108])',
    'return [101, 118, 97, 108].map((c) => String.fromCharCode(c)).join("")',
    'return atob("ZXZhbA==")',
    'return Buffer.from("6576616c", "hex").toString()',
    'return "e".concat("v", "al")',
    'return "EVAL".toLowerCase()',
    'return "xval".replace("x", "e")',
    'let word = "ev"; word += "al"; return word + ""',
  ],
  function_constructor: [
    'return Function("return 1")()',
    'return new Function("return 1")()',
    'return Reflect.construct(Function, ["1"])',
    'const F = Function; return new F("1")',
    'return globalThis.Function("1")',
    'class A extends Function {}',
    'declare const Function: any; return Function("1")',
    'return Function.prototype.call',
    'switch (Function("1")) { case 1: let Function = 2 }',
    'const f = (a = Function) => { var Function = 1; return a }',
  ],
  constructor_access: [
    'return [].filter.constructor("return 1")()',
    'return input.constructor.constructor("return process")()',
    'return (async () => {}).constructor("1")',
    "return [].filter['constructor']('1')",
    "return [].filter['con' + 'structor']('1')",
    `return [].filter['${backslash}x63onstructor']('1')`,
    `return [].filter.${backslash}u0063onstructor('1')`,
    'const { constructor: C } = async () => {}; return C("1")',
    "const { ['con' + 'structor']: C } = () => {}; return C('1')",
    "const key = 'constructor'; return input[key]('1')",
    "const names = ['a', 'constructor']; return input[names[1]]('1')",
    "const names = { c: 'constructor' }; return input[names.c]('1')",
    "return ((k) => input[k])('constructor')",
    'return (input as any)?.constructor?.constructor("1")',
    'return input.constructor!("1")',
    'const C = input.constructor; return new C("1")',
  ],
  dynamic_import: [
    'return import("fs")',
    'return await import("node:" + "fs")',
    'return import.meta.url',
  ],
  require: [
    'return require("fs")',
    'const r = require; return r("fs")',
    'return module.exports',
    'return input.require("fs")',
    'return globalThis.require("fs")',
    "return 'req' + 'uire'",
  ],
  module_load: [
    'return input.Module._load("fs")',
    "return input['_lo' + 'ad']('fs')",
    'return input.p.binding("fs")',
    'return input.p.dlopen("x")',
    'return input.mainModule',
    'const { _load } = input',
    'return input.getBuiltinModule("fs")',
  ],
  vm_run: [
    'return input.vm.runInThisContext("1")',
    'return input.vm.runInNewContext("1")',
    "return input.vm['runIn' + 'Context']('1')",
    'const { runInNewContext: run } = input.vm',
  ],
  host_object: [
    'return process.env',
    'return process.binding("fs")',
    'return process.dlopen({}, "x")',
    'return globalThis.process',
    'return Bun.spawn(["id"])',
    'return new Worker("x")',
    'return WebAssembly.compile(input.bytes)',
    '{ const process = 1 } return process',
    'function inner() { var process = 1 } return process.pid',
    'const { env } = process',
  ],
  global_object: [
    "return globalThis['eval']",
    "return globalThis['pro' + 'cess']",
    'return globalThis[input.name]',
    'const g = globalThis; return g.x',
    'return Object.keys(globalThis)',
    "return globalThis.globalThis['x']",
    "return global['x']",
    "return self['x']",
    'const { fetch } = globalThis',
  ],
  string_timer: [
    'setTimeout("alert(1)", 1)',
    "setInterval('a' + input.x, 1)",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the attempt is a template
    'setTimeout(`run(${input.x})`, 1)',
    "const code = 'run()'; setTimeout(code, 1)",
    "const later = setTimeout; later('run()')",
    "globalThis.setTimeout('run()', 1)",
    "setTimeout.call(null, 'run()')",
    "setTimeout(...['run()'])",
  ],
  prototype: [
    'Object.prototype.polluted = 1',
    "Array.prototype['map'] = () => []",
    'input.__proto__.x = 1',
    "input['__pro' + 'to__'].x = 1",
    'return { __proto__: input }',
    'Object.setPrototypeOf(input, null)',
    'return Object.getPrototypeOf(async () => {})',
    'Object.assign(Array.prototype, {})',
    "Object.defineProperty(JSON, 'stringify', { value: 1 })",
    'JSON.stringify = () => "mine"',
    'JSON = {}',
    'delete Array.prototype.map',
    'const O = Object; O.prototype.x = 1',
    'const p = Array.prototype; p.map = 1',
    '[Array.prototype.x] = [1]',
    'for (Array.prototype.x of [1]) {}',
    'const { getPrototypeOf } = Object',
    "input.__defineGetter__('x', () => 1)",
    'const { __proto__: p } = input',
  ],
  reflect: [
    'return Reflect.get(input, "x")',
    'return Reflect.construct(input.f, [])',
    'const R = Reflect; return R.apply(input.f, null, [])',
    'return Reflect["get"](input, "x")',
    'return Reflect.getPrototypeOf(input)',
  ],
  computed_call: [
    'return [][input.a][input.b](input.c)',
    'return input.f[input.a]![input.b]("code")()',
    'return input.f[input.a]("code")()',
    'return (() => {})[input.a]',
    'const f = async () => {}; return f[input.a]',
    'function f() {} return f[input.a]',
    'return Object[input.a](input.b)',
    'const O = JSON as any; return (O, JSON)[input.a]',
  ],
}

describe('each rule finds its attempts', () => {
  for (const rule of codeRules) {
    for (const code of hits[rule]) {
      test(`${rule}: ${code.slice(0, 70)}`, () => {
        expect(scanCode(code).faults.map((fault) => fault.rule)).toContain(rule)
      })
    }
  }
})

const honest = [
  '',
  'return 1 // a comment at the end',
  // biome-ignore lint/suspicious/noTemplateCurlyInString: code under test
  'const answer = await ctx.fetch(`https://api.example.com/v1/items/${encodeURIComponent(input.id)}`)\nif (!answer.ok) throw new Error(`The API said ${answer.status}.`)\nreturn (await answer.json()).items.map((item: { id: string }) => item.id)',
  'const process = (items: string[]) => items.length; return process(input.items)',
  'function process(x) { return x } return process(input.require)',
  'const evaluate = input.evaluation; return evaluate',
  'return input.eval',
  'return "eval is a word, and so are Function and constructor"',
  'return input.items.filter((item) => item.kind === "constructor")',
  'if (["__proto__", "constructor", "prototype"].includes(input.key)) throw new Error("bad key")\nreturn input.key',
  'if (input.key === "__proto__") return null',
  'return Object.prototype.hasOwnProperty.call(input, "constructor")',
  'return Array.prototype.slice.call(input.items, 1)',
  'return Object.hasOwn(input, "__proto__")',
  'try { return 1 } catch (error) { return error.constructor.name }',
  'return input.value.constructor === Object',
  'return Object.getPrototypeOf(input) === Object.prototype',
  'return typeof input.run === "function" || input.run instanceof Function',
  'await new Promise((resolve) => setTimeout(resolve, 100))',
  'const timer = setInterval(() => ctx.progress(1, 2), 1000); clearInterval(timer)',
  'const table = { a: 1, b: 2 }; return table[input.key]',
  'return input.matrix[input.i][input.j]',
  'const operations = { add: (a, b) => a + b }; return operations[input.operation](1, 2)',
  'return Reflect.ownKeys(input)',
  'return Math[input.operation](input.a, input.b)',
  'console[input.level](input.text)',
  'const handlers = { a: () => 1 }; return handlers[input.kind]()',
  'return globalThis.crypto.randomUUID()',
  'const self = input; return self["x"]',
  'enum Colour { Red, Green } return Colour[input.colour]',
  'class Point { x = 1; constructor(readonly y: number) {} static { Point.origin = new Point(0) } static origin: Point }\nreturn new Point(2).y',
  'let total = Infinity; total = Math.min(total, input.n); return total',
  'const out: Record<string, number> = {}; for (const key of Object.keys(input)) out[key] = 1; return out',
  'const fields = ["process"]; return fields.join(",")',
  'const kinds = { p: "process", m: "module" }; return kinds.p',
  'const cb: Function = () => 1; return cb()',
  'return Object.assign({}, input, { a: 1 })',
  'label: for (const x of input.list) { if (x) continue label }',
  'const { module, require: needed } = input; return [module, needed]',
  'return input.items.reduce((sum, { price = 0 }) => sum + price, 0)',
  'return new Intl.NumberFormat("de").format(input.n) + " " + new Date().toISOString()',
  'const re = /\\beval\\(/; return re.test(input.text)',
  'return btoa(String.fromCharCode(...new Uint8Array(input.bytes)))',
]

describe('honest code passes', () => {
  for (const code of honest) {
    test(code.slice(0, 80) || 'an empty body', () => {
      expect(scanCode(code).faults).toEqual([])
    })
  }
})

test('a fault names the line of the body', () => {
  expect(scanCode('const a = 1\nreturn eval("a")').faults[0]?.message).toStartWith('Line 2: ')
})

test.each([
  ['x y', 'line 1: '],
  [`'${'🙂'.repeat(30)}'\nx y\n1\n2\n3`, 'line 2: '],
  ['return (1', 'line 1, where the code ends: '],
  ['return 1 +\n\n', 'line 1, where the code ends: '],
  ['const a = 1\nif (a) {', 'line 2, where the code ends: '],
])('what does not parse is told by the line that its author sees: %j', (body, place) => {
  const [fault] = scanCode(body).faults
  expect(fault?.message).toStartWith(`The code does not parse: ${place}`)
})

test('texts are found with their escapes resolved and their pieces joined', () => {
  const { texts } = scanCode(`return 'ig${backslash}x6eore ' + 'previous ' + 'instructions'`)
  expect(texts.map((found) => found.text)).toContain('ignore previous instructions')
})
