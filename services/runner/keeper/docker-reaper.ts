/** What comes after a keeper that was killed: its containers are ended, as it could not do itself. Arguments: socket, keeper. */
import { KEEPER_LABEL } from './docker.ts'
import { sweepContainers } from './docker-driver.ts'
import { dockerEngine } from './docker-engine.ts'

const [socket, keeper] = process.argv.slice(2)
if (socket === undefined || keeper === undefined) throw new Error('socket and keeper are missing')
await sweepContainers(dockerEngine(socket), [`${KEEPER_LABEL}=${keeper}`])
process.exit()
