/** The other side: oidc-provider in a process of its own on Node, the runtime that it is made for. */
import { join } from 'node:path'
import { ask } from '../account.ts'
import { openBrowser } from '../browser.ts'
import { openSide, type Side } from './side.ts'

const START_TIMEOUT_MS = 20_000
const CODE_LIFE_MS = 1_100

/** Starts the oracle; disposing ends it. */
export async function startOracle(): Promise<AsyncDisposable & { side: Side }> {
  const source = await Bun.file(join(import.meta.dir, 'oracle.ts')).text()
  const program = new Bun.Transpiler({ loader: 'ts', target: 'node' }).transformSync(source)
  const child = Bun.spawn(['node', '--input-type=module', '--eval', program], {
    // From here Node finds the package.
    cwd: import.meta.dir,
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const stop = async () => {
    child.kill()
    await child.exited
  }
  try {
    const issuer = await firstLine(child)
    const browser = openBrowser(issuer)
    const side = await openSide({
      issuer,
      resource: `${issuer}/resource-a`,
      otherResource: `${issuer}/resource-b`,
      // Its own protected resource is that of OpenID Connect.
      open: ({ authorization, query = '' }) =>
        ask(`${issuer}/me${query}`, 'GET', {
          headers: authorization === undefined ? {} : { authorization },
        }),
      // Signed in by its first request, which is not one that forbids to ask.
      signedIn: () => browser,
      outlive: () => Bun.sleep(CODE_LIFE_MS),
    })
    return { side, [Symbol.asyncDispose]: stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Its address; throws with what it said when it ends without one. */
async function firstLine(child: {
  stdout: ReadableStream<Uint8Array>
  stderr: ReadableStream<Uint8Array>
}): Promise<string> {
  const said = new Response(child.stderr).text()
  const reader = child.stdout.getReader()
  const { value } = await Promise.race([
    reader.read(),
    Bun.sleep(START_TIMEOUT_MS).then(() => ({ value: undefined })),
  ])
  if (value === undefined) {
    const why = await Promise.race([said, Bun.sleep(1_000)])
    throw new Error(`oidc-provider did not start on the installed Node (22 is best): ${why}`)
  }
  return new TextDecoder().decode(value).trim()
}
