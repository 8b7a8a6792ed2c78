/** What the importer's tests share: fixtures, documents of one operation, drafts that are valid specs. */
import { expect } from 'bun:test'
import { readFileSync } from 'node:fs'
import { serverSpecSchema, type ToolSpec } from '@bmm/spec/server-spec'
import { type Draft, draftFromOpenApi, type ImportOptions } from './draft.ts'

/** Where the fixtures were fetched from. */
export const documentUrl = 'https://notes.example/docs/api.yaml'

export function fixture(name: string): string {
  return readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8')
}

export function drafted(text: string | object, options: ImportOptions = { documentUrl }): Draft {
  const draft = draftFromOpenApi(typeof text === 'string' ? text : JSON.stringify(text), options)
  expect(serverSpecSchema.parse(draft.spec)).toEqual(draft.spec)
  return draft
}

export function toolOf(
  draft: Draft,
  name: string,
): ToolSpec & { operation: NonNullable<ToolSpec['operation']> } {
  const tool = draft.spec.tools.find((one) => one.name === name)
  if (tool?.operation === undefined) throw new Error(`no tool ${name}`)
  return { ...tool, operation: tool.operation }
}

/** A document of one operation. */
export function oneOperation(operation: object, more: object = {}): object {
  return {
    openapi: '3.1.0',
    info: { title: 'T' },
    servers: [{ url: 'https://api.example.com' }],
    paths: { '/things': { post: { operationId: 'run', responses: {}, ...operation } } },
    ...more,
  }
}

export function bodyOf(schema: object, more: object = {}): object {
  return { requestBody: { required: true, content: { 'application/json': { schema } } }, ...more }
}

export function inputOf(schema: object, components: object = {}): Record<string, unknown> {
  return toolOf(drafted(oneOperation(bodyOf(schema), { components })), 'run').inputSchema
}
