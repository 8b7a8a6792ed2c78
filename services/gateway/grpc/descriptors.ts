/** The contracts as strangers may see them: external RPCs, the messages that these need, and no word about the rest (pure). */
import {
  create,
  type DescEnum,
  type DescFile,
  type DescMessage,
  type DescMethod,
  type DescService,
  toBinary,
} from '@bufbuild/protobuf'
import {
  type DescriptorProto,
  DescriptorProtoSchema,
  FieldDescriptorProtoSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  MethodDescriptorProtoSchema,
  OneofDescriptorProtoSchema,
  ServiceDescriptorProtoSchema,
} from '@bufbuild/protobuf/wkt'

export type Descriptors = {
  services: readonly string[]
  /** A file and those that it imports, the imported first; undefined when there is no such one. */
  byName(file: string): Uint8Array[] | undefined
  /** The same, for the file that declares a service, RPC, message or enum. */
  bySymbol(symbol: string): Uint8Array[] | undefined
}

type Kept = {
  files: Map<string, DescFile>
  types: Set<DescMessage | DescEnum>
  methods: ReadonlySet<DescMethod>
  services: ReadonlySet<DescService>
}

/** Prunes the files of these RPCs and further messages; `whole` services are shown as they are. */
export function descriptorsOf(given: {
  methods: readonly DescMethod[]
  messages: readonly DescMessage[]
  whole: readonly DescService[]
}): Descriptors {
  const methods = new Set([...given.methods, ...given.whole.flatMap((service) => service.methods)])
  const services = new Set([...methods].map((method) => method.parent))
  const kept: Kept = { files: new Map(), types: new Set(), methods, services }
  for (const { input, output } of methods) {
    keep(input, kept)
    keep(output, kept)
  }
  for (const message of given.messages) keep(message, kept)
  for (const service of services) kept.files.set(service.file.proto.name, service.file)
  const pruned = new Map(
    [...kept.files.values()].map((file) => [file.proto.name, prunedFile(file, kept)]),
  )
  const symbols = symbolsOf(kept)
  const closure = (name: string) => {
    if (!pruned.has(name)) return undefined
    return withImports(name, pruned).map((file) => toBinary(FileDescriptorProtoSchema, file))
  }
  return {
    services: [...services].map((service) => service.typeName).sort(),
    byName: closure,
    bySymbol(symbol) {
      const file = symbols.get(symbol)
      return file === undefined ? undefined : closure(file)
    },
  }
}

/** A type is kept together with the messages around it and the types of its fields. */
function keep(type: DescMessage | DescEnum, kept: Kept): void {
  if (kept.types.has(type)) return
  kept.types.add(type)
  kept.files.set(type.file.proto.name, type.file)
  if (type.parent !== undefined) keep(type.parent, kept)
  if (type.kind === 'enum') return
  for (const field of type.fields) {
    if (field.message !== undefined) keep(field.message, kept)
    if (field.enum !== undefined) keep(field.enum, kept)
  }
  for (const nested of type.nestedMessages) keep(nested, kept)
}

/** Options are left out: they say who may call what, and which rules the fields have, and would import our own files. */
function prunedFile(file: DescFile, kept: Kept): FileDescriptorProto {
  const { name, package: packageName, syntax } = file.proto
  const messages = file.messages.filter((message) => kept.types.has(message))
  const enums = file.enums.filter((type) => kept.types.has(type))
  return create(FileDescriptorProtoSchema, {
    ...{ name, package: packageName, syntax },
    messageType: messages.map(({ proto }) => prunedMessage(proto)),
    enumType: enums.map(({ proto }) => proto),
    service: file.services
      .filter((service) => kept.services.has(service))
      .map((service) =>
        create(ServiceDescriptorProtoSchema, {
          name: service.proto.name,
          method: service.methods
            .filter((method) => kept.methods.has(method))
            .map(({ proto }) =>
              create(MethodDescriptorProtoSchema, { ...proto, options: undefined }),
            ),
        }),
      ),
    dependency: importsOf(file, kept),
  })
}

function prunedMessage(proto: DescriptorProto): DescriptorProto {
  // What maps are made of must keep saying so.
  const options = proto.options?.mapEntry === true ? proto.options : undefined
  return create(DescriptorProtoSchema, {
    ...proto,
    options,
    field: proto.field.map((field) =>
      create(FieldDescriptorProtoSchema, { ...field, options: undefined }),
    ),
    oneofDecl: proto.oneofDecl.map(({ name }) => create(OneofDescriptorProtoSchema, { name })),
    nestedType: proto.nestedType.map(prunedMessage),
  })
}

function importsOf(file: DescFile, kept: Kept): string[] {
  const imports = new Set<string>()
  const use = (type: DescMessage | DescEnum) => void imports.add(type.file.proto.name)
  for (const type of kept.types) {
    if (type.file !== file || type.kind === 'enum') continue
    for (const field of type.fields) {
      if (field.message !== undefined) use(field.message)
      if (field.enum !== undefined) use(field.enum)
    }
  }
  for (const method of kept.methods) {
    if (method.parent.file !== file) continue
    use(method.input)
    use(method.output)
  }
  imports.delete(file.proto.name)
  return [...imports].sort()
}

function withImports(
  name: string,
  files: ReadonlyMap<string, FileDescriptorProto>,
  seen = new Set<string>(),
): FileDescriptorProto[] {
  const file = files.get(name)
  if (file === undefined || seen.has(name)) return []
  seen.add(name)
  return [...file.dependency.flatMap((each) => withImports(each, files, seen)), file]
}

function symbolsOf({ types, methods, services }: Kept): Map<string, string> {
  return new Map([
    ...[...types].map((type) => [type.typeName, type.file.proto.name] as const),
    ...[...services].map((service) => [service.typeName, service.file.proto.name] as const),
    ...[...methods].map(
      (method) =>
        [`${method.parent.typeName}.${method.name}`, method.parent.file.proto.name] as const,
    ),
  ])
}
