/** The disposable child for code: spec bytes on stdin, findings or the compiled module on stdout. */
import { parseServerSpec } from '@bmm/spec/server-spec'
import { REFUSED } from '../disposable.ts'
import { scanSpec } from '../scan/scan-spec.ts'
import { CompileError, compileModule } from './compile.ts'

if (import.meta.main) {
  const spec = parseServerSpec(new Uint8Array(await Bun.stdin.arrayBuffer()))
  // Written at once, so that the parent knows which tool a crash belongs to.
  const onTool = (path: string) => {
    process.stderr.write(`@${path}\n`)
  }
  if (process.argv[2] === 'compile') await compile(() => compileModule(spec, onTool))
  else await Bun.write(Bun.stdout, JSON.stringify(scanSpec(spec, onTool)))
}

async function compile(run: () => Uint8Array): Promise<void> {
  try {
    await Bun.write(Bun.stdout, run())
  } catch (error) {
    if (!(error instanceof CompileError)) throw error
    const { path, message } = error
    await Bun.write(Bun.stdout, JSON.stringify({ path, message }))
    process.exitCode = REFUSED
  }
}
