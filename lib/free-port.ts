/** TCP ports of loopback: whether one is free, and one that stays free until somebody asks for it by its number. */
import { readFileSync } from 'node:fs'

const LOOPBACKS = ['127.0.0.1', '::1']
const FIRST = 10_000
const LAST = 65_535
const TRIES = 200
/** What the kernel gives to connections and to listeners that take any; absent on no Linux. */
const GIVEN_AWAY = '/proc/sys/net/ipv4/ip_local_port_range'

/**
 * A free one that the kernel gives to nobody who asks for any: what is chosen now is bound seconds later, and again by
 * each restart. Undefined where there is none.
 */
export function findFreePort(): number | undefined {
  const [low = 0, high = 0] = readFileSync(GIVEN_AWAY, 'utf8').trim().split(/\s+/).map(Number)
  for (let tries = 0; tries < TRIES; tries++) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST + 1))
    if ((port < low || port > high) && isFreePort(port)) return port
  }
  using any = listen('127.0.0.1', 0)
  return any !== undefined && isFreePort(any.port, ['::1']) ? any.port : undefined
}

/** Free on every loopback address that this machine has. */
export function isFreePort(port: number, hosts: readonly string[] = LOOPBACKS): boolean {
  return hosts.every((hostname) => {
    using listener = listen(hostname, port)
    return listener !== undefined
  })
}

/** A short-lived listener; undefined when the port is taken there. A machine without IPv6 takes nothing there. */
function listen(hostname: string, port: number): ({ port: number } & Disposable) | undefined {
  try {
    const listener = Bun.listen({ hostname, port, socket: { data() {} } })
    return { port: listener.port, [Symbol.dispose]: () => listener.stop(true) }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    return code === 'EADDRNOTAVAIL' || code === 'EAFNOSUPPORT'
      ? { port, [Symbol.dispose]() {} }
      : undefined
  }
}
