/** The few calls of a Docker engine that the driver makes, over the engine's unix socket. */
import { z } from 'zod'
import { sandboxLimits } from '../sandbox/sandbox-limits.ts'

export type EngineInfo = {
  version: string
  linux: boolean
  runtimes: string[]
  /** What it cannot enforce; empty when it can enforce all that a sandbox needs. */
  missing: string[]
  /** Its users are not this machine's, so that no sandbox could open its own sockets. */
  rootless: boolean
}

export type ContainerState = {
  id: string
  labels: Readonly<Record<string, string>>
  running: boolean
  /** 0 once it has ended. */
  pid: number
  /** Whom its process runs as. */
  uid: number
  exitCode: number
  oomKilled: boolean
  /** What the engine says about a start that failed. */
  error: string
}

export type DockerEngine = {
  /** For people: where it is. */
  readonly address: string
  info(): Promise<EngineInfo>
  /** Makes an image of one layer; `tar` is a whole root file system. */
  importImage(image: string, tar: ReadableStream<Uint8Array>): Promise<void>
  hasImage(image: string): Promise<boolean>
  /** Tags of a repository. */
  listImages(repository: string): Promise<string[]>
  removeImage(image: string): Promise<void>
  /** Answers its id. */
  create(name: string, spec: ContainerSpec): Promise<string>
  start(id: string): Promise<void>
  /** Takes its name, too. */
  inspect(id: string): Promise<ContainerState>
  /** Resolves when it does not run any more; rejects when the engine goes away meanwhile. */
  ended(id: string): Promise<void>
  kill(id: string): Promise<void>
  /** Of a running container; one that has ended needs no limit. */
  limitCpu(id: string, cpuQuotaUs: number): Promise<void>
  /** Of a running container, as above; 1,024 is everyone's. */
  weighCpu(id: string, cpuShares: number): Promise<void>
  /** Ends it and removes it; it need not be there. */
  remove(id: string): Promise<void>
  /** Containers with all of these `name=value` labels, running or not. */
  list(labels: readonly string[]): Promise<{ id: string; name: string }[]>
}

/** What POST /containers/create takes. */
export type ContainerSpec = Readonly<Record<string, unknown>>

/** The engine refused, or cannot be reached (`status` 0). */
export class EngineFault extends Error {
  override name = 'EngineFault'
  constructor(
    message: string,
    readonly status: number,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

const CALL_TIMEOUT_MS = 12_000
const IMPORT_TIMEOUT_MS = 120_000
const NOT_MODIFIED = 304
const NOT_FOUND = 404
const CONFLICT = 409

const faultSchema = z.object({ message: z.string() })
const createdSchema = z.object({ Id: z.string() })
const listSchema = z.array(z.object({ Id: z.string(), Names: z.array(z.string()) }))
const imagesSchema = z.array(z.object({ RepoTags: z.array(z.string()).nullable() }))
const inspectSchema = z.object({
  Id: z.string(),
  Config: z.object({ User: z.string(), Labels: z.record(z.string(), z.string()).nullable() }),
  State: z.object({
    Running: z.boolean(),
    Pid: z.number(),
    ExitCode: z.number(),
    OOMKilled: z.boolean(),
    Error: z.string(),
  }),
})
const infoSchema = z.object({
  OSType: z.string(),
  ServerVersion: z.string(),
  MemoryLimit: z.boolean(),
  PidsLimit: z.boolean(),
  CpuCfsQuota: z.boolean(),
  SecurityOptions: z.array(z.string()).nullable(),
  Runtimes: z.record(z.string(), z.unknown()),
})

type Request = {
  method: 'GET' | 'POST' | 'DELETE'
  path: string
  json?: unknown
  tar?: ReadableStream<Uint8Array>
  /** 0: none. */
  timeoutMs?: number
}

/** Nothing is connected until the first call, and each call connects anew: an engine may restart at any time. */
export function dockerEngine(socket: string): DockerEngine {
  const address = `unix://${socket}`
  const send = (request: Request) => ask(socket, request)
  const at = (id: string, verb = '') => `/containers/${encodeURIComponent(id)}${verb}`
  const image = (name: string) => `/images/${encodeURIComponent(name)}`

  async function inspect(id: string): Promise<ContainerState> {
    const { Id, Config, State } = inspectSchema.parse(
      await send({ method: 'GET', path: at(id, '/json') }),
    )
    return {
      ...{ id: Id, labels: Config.Labels ?? {}, uid: Number.parseInt(Config.User, 10) },
      ...{ running: State.Running, pid: State.Pid, error: State.Error },
      ...{ exitCode: State.ExitCode, oomKilled: State.OOMKilled },
    }
  }

  /** Of one that has ended nothing needs to change. */
  async function update(id: string, json: Readonly<Record<string, number>>): Promise<void> {
    try {
      await send({ method: 'POST', path: at(id, '/update'), json })
    } catch (error) {
      const state = await inspect(id).catch(unless(NOT_FOUND, undefined))
      if (state?.running) throw error
    }
  }

  return {
    address,
    async info() {
      return infoOf(infoSchema.parse(await send({ method: 'GET', path: '/info' })))
    },
    async importImage(name, tar) {
      const [repo = '', tag = ''] = name.split(':')
      const path = `/images/create?fromSrc=-&repo=${repo}&tag=${tag}`
      await send({ method: 'POST', path, tar, timeoutMs: IMPORT_TIMEOUT_MS })
      if (!(await this.hasImage(name))) throw new EngineFault('the image was not imported', 0)
    },
    async hasImage(name) {
      const found = send({ method: 'GET', path: `${image(name)}/json` }).then(() => true)
      return await found.catch(unless(NOT_FOUND, false))
    },
    async listImages(repository) {
      const path = `/images/json?filters=${filters('reference', [repository])}`
      const rows = imagesSchema.parse(await send({ method: 'GET', path }))
      return rows.flatMap(({ RepoTags }) => RepoTags ?? [])
    },
    async removeImage(name) {
      await send({ method: 'DELETE', path: image(name) }).catch(unless(NOT_FOUND, undefined))
    },
    async create(name, spec) {
      const path = `/containers/create?name=${name}`
      return createdSchema.parse(await send({ method: 'POST', path, json: spec })).Id
    },
    async start(id) {
      await send({ method: 'POST', path: at(id, '/start') })
    },
    inspect,
    async ended(id) {
      await send({ method: 'POST', path: at(id, '/wait'), timeoutMs: 0 })
    },
    async kill(id) {
      const killed = send({ method: 'POST', path: at(id, '/kill?signal=KILL') })
      await killed.catch(unless(CONFLICT, undefined)).catch(unless(NOT_FOUND, undefined))
    },
    limitCpu(id, CpuQuota) {
      return update(id, { CpuPeriod: sandboxLimits.cpuPeriodUs, CpuQuota })
    },
    weighCpu: (id, CpuShares) => update(id, { CpuShares }),
    async remove(id) {
      const removed = send({ method: 'DELETE', path: at(id, '?force=true&v=true') })
      // 409: somebody else is removing it already.
      await removed.catch(unless(CONFLICT, undefined)).catch(unless(NOT_FOUND, undefined))
    },
    async list(labels) {
      const path = `/containers/json?all=true&filters=${filters('label', labels)}`
      const rows = listSchema.parse(await send({ method: 'GET', path }))
      return rows.map(({ Id, Names: [name = ''] }) => ({ id: Id, name: name.replace('/', '') }))
    },
  }
}

function filters(name: string, values: readonly string[]): string {
  return encodeURIComponent(JSON.stringify({ [name]: values }))
}

function unless<Value>(status: number, value: Value): (error: unknown) => Value {
  return (error) => {
    if (error instanceof EngineFault && error.status === status) return value
    throw error
  }
}

/** The parsed answer, undefined where there is none. Throws EngineFault. */
async function ask(socket: string, request: Request): Promise<unknown> {
  const { method, path, json, tar, timeoutMs = CALL_TIMEOUT_MS } = request
  let response: Response
  let text: string
  try {
    response = await fetch(`http://docker${path}`, {
      ...{ method, unix: socket, keepalive: false, redirect: 'error' },
      ...(json === undefined ? {} : { body: JSON.stringify(json) }),
      ...(tar === undefined ? {} : { body: tar }),
      headers: { 'content-type': tar === undefined ? 'application/json' : 'application/x-tar' },
      ...(timeoutMs === 0 ? { timeout: false } : { signal: AbortSignal.timeout(timeoutMs) }),
    })
    text = await response.text()
  } catch (error) {
    const late = error instanceof Error && error.name === 'TimeoutError'
    const why = late ? `did not answer within ${timeoutMs / 1000} s` : 'does not answer'
    const message = `The container engine ${why} at unix://${socket}: is it installed and running? DOCKER_HOST names another socket.`
    throw new EngineFault(message, 0, { cause: error })
  }
  const body = parsed(text)
  if (response.status >= NOT_MODIFIED) {
    const said = faultSchema.safeParse(body)
    const why = said.success ? said.data.message : `status ${response.status}`
    throw new EngineFault(`The container engine refused: ${why}`, response.status)
  }
  return body
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function infoOf(info: z.infer<typeof infoSchema>): EngineInfo {
  const options = info.SecurityOptions ?? []
  const missing = [
    ...(info.MemoryLimit ? [] : ['memory limits']),
    ...(info.PidsLimit ? [] : ['process limits']),
    ...(info.CpuCfsQuota ? [] : ['processor limits']),
    ...(options.some((option) => option.startsWith('name=seccomp')) ? [] : ['seccomp']),
  ]
  return {
    version: info.ServerVersion,
    linux: info.OSType === 'linux',
    runtimes: Object.keys(info.Runtimes),
    missing,
    rootless: options.some((option) => option.startsWith('name=rootless')),
  }
}
