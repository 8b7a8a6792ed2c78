/** What anybody may ask on the gRPC port: health and reflection, and that reflection shows nothing internal. */
import { afterAll, afterEach, beforeAll, describe, expect, spyOn, test } from 'bun:test'
import { connect } from 'node:http2'
import { testLog } from '@bmm/lib/testing'
import { until } from '@bmm/lib/testing-until'
import { fromBinary } from '@bufbuild/protobuf'
import { type FileDescriptorProto, FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt'
import { status } from '@grpc/grpc-js'
import { z } from 'zod'
import { type TestGateway, testGateway } from '../testing.ts'
import { type GrpcClient, grpcClient } from './testing.ts'

const HEALTH = 'grpc.health.v1.Health'
const REFLECTION = 'grpc.reflection.v1.ServerReflection/ServerReflectionInfo'

let gw: TestGateway
let client: GrpcClient

beforeAll(async () => {
  gw = await testGateway()
  client = grpcClient(`localhost:${gw.gateway.grpcPort}`)
})
afterEach(() => gw.world.broken.clear())
afterAll(async () => {
  client[Symbol.dispose]()
  await gw[Symbol.asyncDispose]()
})

describe('health', () => {
  test('follows the readiness of the gateway, for every service that is offered', async () => {
    const check = async (service: string) => {
      // Not so often that it is too often.
      await Bun.sleep(250)
      return (await client.call(`${HEALTH}/Check`, { service })).status
    }
    await until(async () => (await check('')) === 'SERVING')
    expect(await check('bmm.gateway.v1.ToolService')).toBe('SERVING')
    gw.stopRunner()
    await until(async () => (await check('')) === 'NOT_SERVING')
    const { statuses } = await client.call(`${HEALTH}/List`)
    expect(statuses).toMatchObject({ '': { status: 'NOT_SERVING' } })
    gw.startRunner()
    await until(async () => (await check('')) === 'SERVING')
  }, 40_000)

  test('of an unknown service is NotFound, and of an internal one too', async () => {
    for (const service of ['nobody', 'bmm.secrets.v1.SecretsService']) {
      const refused = await client.refusal(`${HEALTH}/Check`, { service })
      expect(refused.code).toBe(status.NOT_FOUND)
    }
  })

  test('is told again when it changes, until the caller goes away', async () => {
    const stream = client.stream(`${HEALTH}/Watch`)
    const seen: unknown[] = []
    stream.on('data', (message) => seen.push(message))
    stream.on('error', () => {})
    await until(() => seen.length === 1)
    gw.stopRunner()
    await until(() => seen.length > 1)
    expect(seen.slice(0, 2)).toEqual([{ status: 'SERVING' }, { status: 'NOT_SERVING' }])
    stream.cancel()
    gw.startRunner()
  }, 40_000)
})

test('one visitor has eight watches at a time, and takes nobody else’s', async () => {
  await using proxied = await testGateway({ trustedProxies: ['127.0.0.1', '::1'] })
  using clients = grpcClient(`localhost:${proxied.gateway.grpcPort}`)
  const watch = (visitor: string) => {
    const stream = clients.stream(
      `${HEALTH}/Watch`,
      {},
      { metadata: { 'x-forwarded-for': visitor } },
    )
    const first = new Promise<unknown>((resolve) => {
      stream.on('data', ({ status }) => resolve(status))
      stream.on('error', ({ code }) => resolve(code))
    })
    return { first, cancel: () => stream.cancel() }
  }
  const eight = Array.from({ length: 8 }, () => watch('192.0.2.1'))
  for (const { first } of eight) expect(String(await first)).toEndWith('SERVING')
  expect(await watch('192.0.2.1').first).toBe(status.RESOURCE_EXHAUSTED)
  expect(String(await watch('192.0.2.2').first)).toEndWith('SERVING')
  eight[0]?.cancel()
  await until(async () => String(await watch('192.0.2.1').first).endsWith('SERVING'))
})

test('who hangs up in the middle of a message is no error of ours', async () => {
  using debug = spyOn(testLog, 'debug')
  using error = spyOn(testLog, 'error')
  const session = connect(`http://localhost:${gw.gateway.grpcPort}`)
  session.on('error', () => {})
  const stream = session.request({
    ...{ ':method': 'POST', ':path': `/${REFLECTION}`, te: 'trailers' },
    'content-type': 'application/grpc',
  })
  stream.on('error', () => {})
  // Five of the 20 bytes that it announces.
  stream.write(Buffer.from([0, 0, 0, 0, 20, 1, 2, 3, 4, 5]))
  // Answered in order: the bytes before it have been read.
  await new Promise<void>((resolve, reject) => {
    session.ping((error) => (error === null ? resolve() : reject(error)))
  })
  session.destroy()
  await until(() => debug.mock.calls.length > 0)
  const [fields, sentence] = debug.mock.calls[0] ?? []
  expect(fields).toMatchObject({ rpc: `/${REFLECTION}` })
  expect(sentence).toContain('went away')
  expect(error.mock.calls).toEqual([])
})

const answerSchema = z.looseObject({
  message_response: z.string(),
  list_services_response: z.object({ service: z.array(z.object({ name: z.string() })) }).nullish(),
  file_descriptor_response: z
    .object({ file_descriptor_proto: z.array(z.instanceof(Buffer)) })
    .nullish(),
})

async function files(question: object, method = REFLECTION): Promise<FileDescriptorProto[]> {
  const [answer] = await client.talk(method, [question])
  const { file_descriptor_response } = answerSchema.parse(answer)
  return (file_descriptor_response?.file_descriptor_proto ?? []).map((bytes) =>
    fromBinary(FileDescriptorProtoSchema, bytes),
  )
}

describe.each([REFLECTION, REFLECTION.replace('v1.', 'v1alpha.')])('%s', (method) => {
  test('lists the services that have external RPCs', async () => {
    const [answer] = await client.talk(method, [{ list_services: '' }])
    const listed = answerSchema.parse(answer).list_services_response?.service
    expect(listed?.map(({ name }) => name)).toEqual([
      'bmm.broker.v1.RefusalService',
      'bmm.gateway.v1.ToolService',
      'bmm.generator.v1.BuildService',
      'bmm.generator.v1.DraftService',
      'bmm.generator.v1.ServerService',
      'bmm.runner.v1.LogService',
      'bmm.runner.v1.StatsService',
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
      'grpc.reflection.v1alpha.ServerReflection',
    ])
  })

  test('gives the file of a symbol with all that it imports', async () => {
    for (const symbol of [
      'bmm.generator.v1.ServerService',
      'bmm.generator.v1.ServerService.CreateServer',
      'bmm.generator.v1.Build',
      'bmm.v1.ErrorInfo',
    ]) {
      const found = await files({ file_containing_symbol: symbol }, method)
      const names = found.map(({ name }) => name)
      for (const file of found) for (const each of file.dependency) expect(names).toContain(each)
      expect(found.length).toBeGreaterThan(0)
    }
  })
})

describe('reflection', () => {
  test.each([
    'bmm.generator.v1.ServingService',
    'bmm.generator.v1.ListServingsRequest',
    'bmm.secrets.v1.SecretsService',
    'bmm.broker.v1.TargetService',
    'bmm.runner.v1.DeploymentService',
    'bmm.auth.v1.SessionService',
    'bmm.v1.Allow',
    'buf.validate.field',
  ])('says nothing of %s', async (symbol) => {
    const [answer] = await client.talk(REFLECTION, [{ file_containing_symbol: symbol }])
    expect(answer).toMatchObject({ message_response: 'error_response' })
  })

  test('shows files without internal services, messages, options or imports', async () => {
    for (const name of [
      'bmm/generator/v1/generator_service.proto',
      'bmm/generator/v1/server.proto',
      'bmm/broker/v1/broker_service.proto',
      'bmm/runner/v1/runner_service.proto',
    ]) {
      const found = await files({ file_by_filename: name })
      const text = JSON.stringify(found, (_, value) =>
        typeof value === 'bigint' ? String(value) : value,
      )
      expect(found.length).toBeGreaterThan(0)
      expect(text).not.toMatch(
        /Serving|Target|Deploy|Artefact|SignedStatement|\bbuf\/|options\.proto/,
      )
      for (const file of found.filter((each) => each.package.startsWith('bmm.'))) {
        for (const service of file.service) {
          for (const rpc of service.method) expect(rpc.options).toBeUndefined()
        }
      }
    }
    expect(await files({ file_by_filename: 'bmm/secrets/v1/secrets_service.proto' })).toEqual([])
    expect(await files({ file_by_filename: '../package.json' })).toEqual([])
  })

  test('takes questions of 4 KiB', async () => {
    const question = { file_containing_symbol: 'x'.repeat(8_192) }
    const refused = await client.talk(REFLECTION, [question]).catch(({ code }) => code)
    expect(refused).toBe(status.RESOURCE_EXHAUSTED)
  })
})
