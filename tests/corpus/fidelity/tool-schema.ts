/** A tool's input schema as clients compile it: by ajv, in the dialect that MCP names (JSON Schema 2020-12). */
import type { Json } from './json.ts'
import { load } from './packages.ts'

type Validate = ((value: unknown) => boolean) & {
  errors?: { instancePath: string; message?: string }[] | null
}
type AjvClass = new (
  options: object,
) => {
  compile(schema: unknown): Validate
  removeSchema(schema: unknown): void
}

/** Answers what looks for the problems of an input; a schema that cannot be compiled is one. */
export function inputReader(): (schema: Json) => (input: Json) => string[] {
  const { default: Ajv } = load<{ default: AjvClass }>('ajv/dist/2020')
  const ajv = new Ajv({
    strict: false,
    logger: false,
    validateFormats: false,
    validateSchema: false,
    code: { optimize: false },
  })
  return (schema) => {
    let validate: Validate
    try {
      validate = ajv.compile(schema)
      ajv.removeSchema(schema)
    } catch (error) {
      return () => [`The schema cannot be compiled: ${error}`]
    }
    return (input) => {
      if (validate(input)) return []
      return (validate.errors ?? []).map(
        ({ instancePath, message }) => `${instancePath} ${message}`,
      )
    }
  }
}
