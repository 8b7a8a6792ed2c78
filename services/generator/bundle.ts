/** Bundles the programs of the disposable children, each into one file compiled ahead: they load in a third of the processor time. */
import { dirname, join, relative } from 'node:path'
import { childPrograms, type ProgramName } from './child-programs.ts'

/** Native code, and what loads it, stays where it was installed. */
const native = /^oxc-(parser|transform)$/
const checkout = join(import.meta.dir, '../..')

/** Writes into `folder`. `seenAt`: where the children will find this checkout. Only ever run on our own sources. */
async function bundleChildren(folder: string, seenAt: string): Promise<void> {
  const sources = Object.entries(childPrograms()) as [ProgramName, string][]
  for (const [name, source] of sources) {
    await Bun.build({
      ...{ entrypoints: [source], target: 'bun', format: 'cjs', bytecode: true },
      ...{ minify: { syntax: true, whitespace: true }, outdir: folder, naming: `${name}.js` },
      plugins: [
        {
          name: 'native code stays outside',
          setup(build) {
            build.onResolve({ filter: native }, ({ path, importer }) => {
              const found = Bun.resolveSync(path, dirname(importer))
              return { path: join(seenAt, relative(checkout, found)), external: true }
            })
          },
        },
      ],
    })
  }
}

if (import.meta.main) {
  const [folder, seenAt] = process.argv.slice(2)
  if (folder === undefined || seenAt === undefined)
    throw new Error('usage: bundle.ts FOLDER CHECKOUT')
  await bundleChildren(folder, seenAt)
}
