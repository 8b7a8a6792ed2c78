/** Wires the keeper: configuration, root file system, driver, slots, its one socket. */
import { configOrExit } from '@bmm/lib/env'
import { createLog } from '@bmm/lib/log'
import { openBwrapDriver } from './bwrap-driver.ts'
import { configFrom } from './config.ts'
import { openDockerDriver } from './docker-driver.ts'
import { startKeeper } from './keeper.ts'
import { bundleGuest, makeRootfs } from './rootfs.ts'
import { makeSlotDirectories } from './slots.ts'

const config = configOrExit(configFrom)
const log = createLog('keeper', config.logLevel)
process.umask(0o022)
const open = { bwrap: openBwrapDriver, docker: openDockerDriver }[config.driver]
const driver = await open({
  config,
  makeRootfs: async () =>
    makeRootfs({
      directory: config.rootfsDirectory,
      bun: process.execPath,
      guest: await bundleGuest(),
    }),
  log,
})
makeSlotDirectories(config.owners)
const { socket, owners, organisationCores } = config
const keeper = startKeeper({ socket, owners, organisationCores, driver, log })
log.info({ driver: driver.name, slots: owners.slots }, 'the keeper is ready')

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, async () => {
    await keeper.stop()
    await driver.close()
    process.exit(0)
  })
}
