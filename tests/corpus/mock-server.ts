/** A process of mocks: Prism answers for each document named on its command line, and refuses requests that the document does not allow. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

/** What of Prism is used: its packages are not there when types are checked. */
type Operations = unknown[]
type Prism = {
  createServer(
    operations: Operations,
    options: { cors: boolean; config: object; components: { logger: object } },
  ): { listen(port: number, address: string): Promise<string> }
}
type Reader = { getHttpOperationsFromSpec(document: unknown): Promise<Operations> }
type Pino = {
  (options: { level: string }, destination: object): object
  destination(descriptor: number): object
}

const require = createRequire(join(import.meta.dir, 'package.json'))
const STDERR = 2
const config = {
  mock: { dynamic: false },
  checkSecurity: true,
  validateRequest: true,
  validateResponse: false,
  isProxy: false,
  errors: false,
}

/** Stdout has one line of JSON: the addresses, in the order of the documents. What Prism minds about a request is on stderr. */
if (import.meta.main) {
  const { createServer } = load<Prism>('@stoplight/prism-http-server')
  const { getHttpOperationsFromSpec } = load<Reader>(
    '@stoplight/prism-http/dist/utils/operations.js',
  )
  const pino = load<Pino>('pino')
  const logger = Object.assign(pino({ level: 'error' }, pino.destination(STDERR)), { success() {} })
  const urls: string[] = []
  for (const path of process.argv.slice(2)) {
    const operations = await getHttpOperationsFromSpec(JSON.parse(readFileSync(path, 'utf8')))
    const server = createServer(operations, { cors: false, config, components: { logger } })
    urls.push(await server.listen(0, '127.0.0.1'))
  }
  process.stdout.write(`${JSON.stringify(urls)}\n`)
}

/** The module's type is what its package says. */
function load<Module>(name: string): Module {
  return require(name)
}
