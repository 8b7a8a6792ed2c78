// From an OpenAPI document to an answered tool call over gRPC, by @grpc/grpc-js on Node:
//   BMM_TOKEN=bmm_… node walk.mjs localhost:9787 openapi.yaml SLUG TOOL '{"limit": 3}'
import { readFileSync } from 'node:fs'
import { credentials, loadPackageDefinition, Metadata } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'

const [target, document, slug, tool, argumentsJson = '{}'] = process.argv.slice(2)
if (!tool || !process.env.BMM_TOKEN) {
  console.error("usage: BMM_TOKEN=bmm_… node walk.mjs HOST:PORT DOCUMENT SLUG TOOL ['ARGUMENTS']")
  process.exit(2)
}
const protos = new URL('../../../../proto', import.meta.url).pathname
const { bmm } = loadPackageDefinition(
  loadSync(['bmm/generator/v1/generator_service.proto', 'bmm/gateway/v1/tool_service.proto'], {
    includeDirs: [protos],
    keepCase: true,
    enums: String,
    longs: String,
    defaults: true,
  }),
)

// Without TLS, as the port speaks it on the machine itself; credentials.createSsl() behind a proxy.
const channel = credentials.createInsecure()
const token = new Metadata()
token.set('authorization', `Bearer ${process.env.BMM_TOKEN}`)
const connect = (Service) => new Service(target, channel)

/** A unary call as a promise, with a deadline. */
const call = (client, method, request) =>
  new Promise((resolve, reject) => {
    const deadline = Date.now() + 60_000
    client[method](request, token, { deadline }, (error, answer) =>
      error === null ? resolve(answer) : reject(new Error(`${method}: ${error.message}`)),
    )
  })

// 1. What the document would become. Nothing is made yet.
const drafts = connect(bmm.generator.v1.DraftService)
const { draft } = await call(drafts, 'CreateDraft', { document: readFileSync(document) })
console.log(`draft ${draft.id}: ${draft.tools} tools, ${draft.spec_digest}`)

// 2. Look at draft.spec before this: creating confirms the bytes of that digest, at that address.
const servers = connect(bmm.generator.v1.ServerService)
const { server, build } = await call(servers, 'CreateServer', {
  draft_id: draft.id,
  spec_digest: draft.spec_digest,
  slug,
})
console.log(`server ${server.id} at ${server.resource_url}`)

// 3. Follow its build to the end.
const builds = connect(bmm.generator.v1.BuildService)
let state = ''
for await (const { event } of builds.WatchBuild({ build_id: build.id }, token)) {
  const whole = event.step === 'BUILD_STEP_UNSPECIFIED'
  if (whole) state = event.state
  else console.log(`build: ${event.step} ${event.line || `${event.state} ${event.elapsed_ms} ms`}`)
}
if (state !== 'BUILD_STATE_SUCCEEDED') throw new Error(`the build ended as ${state}`)

// 4. Call a tool.
const tools = connect(bmm.gateway.v1.ToolService)
const answer = await call(tools, 'CallTool', { server: slug, tool, arguments_json: argumentsJson })
console.log(`answer: ${answer.result_json}`)
process.exit(answer.is_error ? 1 : 0)
