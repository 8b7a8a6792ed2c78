/** Wires the keeper: configuration, control groups, root file system, slots, its one socket. */
import { createLog } from '@bmm/lib/log'
import { openCgroups } from './cgroups.ts'
import { configFrom } from './config.ts'
import { startKeeper } from './keeper.ts'
import { probeBwrap } from './probe.ts'
import { bundleGuest, makeRootfs } from './rootfs.ts'
import { makeSlotDirectories } from './slots.ts'

const config = configFrom()
const log = createLog('keeper', config.logLevel)
process.umask(0o022)
const probe = await probeBwrap()
if (!probe.ok) throw new Error(probe.reason)
const { programs } = probe
const cgroups = openCgroups(config.cgroup)
const swept = await cgroups.sweep()
if (swept > 0) log.warn({ swept }, 'an earlier keeper left sandboxes: they are gone now')
const rootfs = await makeRootfs({
  directory: config.rootfsDirectory,
  bun: process.execPath,
  guest: await bundleGuest(),
})
makeSlotDirectories(config.owners)
const { socket, owners } = config
const keeper = startKeeper({ socket, owners, cgroups, rootfs, programs, log })
log.info(
  { cgroups: cgroups.version, rootfs: rootfs.path, slots: owners.slots },
  'the keeper is ready',
)

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, async () => {
    await keeper.stop()
    cgroups.remove()
    process.exit(0)
  })
}
