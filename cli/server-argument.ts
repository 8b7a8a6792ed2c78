/** The argument of the commands about one server: told apart from what cannot be one before anything is asked. */
import { slugPattern } from '@bmm/spec/resource-url'
import { Argument } from 'commander'
import { misused } from './fault.ts'

const idPattern = /^srv_[0-9a-z]{26}$/
const buildIdPattern = /^bld_[0-9a-z]{26}$/

/** A server by slug or id. */
export function serverArgument(): Argument {
  return new Argument('<server>', 'slug or id').argParser((text) => {
    if (isServer(text)) return text
    throw misused(
      'A server is named by its slug (lower case letters, digits and hyphens) or by its id, srv_ and 26 characters.',
    )
  })
}

/** A build by id, or the newest one of a server. */
export function buildArgument(): Argument {
  const described = 'id of a build, or a server for its newest one'
  return new Argument('<build>', described).argParser((text) => {
    if (buildIdPattern.test(text) || isServer(text)) return text
    throw misused(
      'A build is named by its id, bld_ and 26 characters; or name its server by slug or id for the newest one.',
    )
  })
}

function isServer(text: string): boolean {
  return slugPattern.test(text) || idPattern.test(text)
}
