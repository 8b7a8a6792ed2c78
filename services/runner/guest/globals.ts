/** What tools find in the global scope instead of a network and a terminal. The missing network is the wall; this is the sign on it. */

const noNetwork =
  'There is no network in this sandbox. Use ctx.fetch(url, init): it reaches the origins that this server may talk to.'

/** Replaces what cannot work by a sentence that says what does. `log` gets what tools write to the console. */
export function replaceGlobals(log: (line: string) => void): void {
  const refuse = () => Promise.reject(new Error(noNetwork))
  class NoSocket {
    constructor() {
      throw new Error(noNetwork)
    }
  }
  const write = (...values: unknown[]) =>
    log(values.map((value) => (typeof value === 'string' ? value : Bun.inspect(value))).join(' '))
  replace(globalThis, 'fetch', Object.assign(refuse, { preconnect: refuse }))
  for (const name of ['WebSocket', 'EventSource', 'XMLHttpRequest'])
    replace(globalThis, name, NoSocket)
  // Bytes that become code: Bun's flag against code from strings does not cover it.
  Reflect.deleteProperty(globalThis, 'WebAssembly')
  for (const level of ['log', 'info', 'warn', 'error', 'debug', 'trace']) {
    replace(globalThis.console, level, write)
  }
}

function replace(target: object, name: string, value: unknown): void {
  Object.defineProperty(target, name, { value, configurable: true, writable: true })
}
