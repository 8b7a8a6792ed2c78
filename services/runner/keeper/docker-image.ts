/** The sandboxes' image: the root file system as one layer, handed to the engine from local files. Nothing is pulled. */
import { basename, dirname } from 'node:path'
import type { DockerEngine } from './docker-engine.ts'
import type { Rootfs } from './rootfs.ts'

/** The image of this root file system, imported unless the engine has it; older ones of the same stack go. */
export async function openImage(
  engine: DockerEngine,
  stack: string,
  rootfs: Rootfs,
): Promise<string> {
  // The root file system's folder is named by its digest.
  const image = `${stack}:${basename(dirname(rootfs.path))}`
  if (!(await engine.hasImage(image))) await importRootfs(engine, image, rootfs)
  for (const other of await engine.listImages(stack)) {
    if (other !== image) await engine.removeImage(other)
  }
  return image
}

async function importRootfs(engine: DockerEngine, image: string, rootfs: Rootfs): Promise<void> {
  const owner = ['--owner=0', '--group=0', '--numeric-owner', '--sort=name']
  const tar = Bun.spawn(['tar', '-C', rootfs.path, ...owner, '-cf', '-', '.'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [, said, code] = await Promise.all([
    engine.importImage(image, tar.stdout),
    new Response(tar.stderr).text(),
    tar.exited,
  ])
  if (code === 0) return
  await engine.removeImage(image)
  throw new Error(`tar could not read the root file system of the sandboxes: ${said.trim()}`)
}
