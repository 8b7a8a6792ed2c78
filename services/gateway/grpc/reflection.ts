/** Server reflection: what tools such as grpcurl ask, answered from the pruned contracts, in both of its versions. */
import { limited } from '@bmm/lib/errors'
import type { ServerReflectionRequest } from '@bmm/proto/grpc/reflection/v1/reflection'
import type { ServerReflectionRequest as AlphaRequest } from '@bmm/proto/grpc/reflection/v1alpha/reflection'
import { Code } from '@connectrpc/connect'
import type { Descriptors } from './descriptors.ts'

const MAX_QUESTIONS = 1_000

/** Answers question after question; the two versions differ in nothing but their name. */
export function reflection(descriptors: Descriptors) {
  return async function* (questions: AsyncIterable<ServerReflectionRequest | AlphaRequest>) {
    let asked = 0
    for await (const question of questions) {
      if (++asked > MAX_QUESTIONS) {
        throw limited('too_many_questions', 'That is enough for one stream. Open another one.')
      }
      const { host, messageRequest } = question
      yield {
        validHost: host,
        messageResponse: answer(messageRequest, descriptors),
      }
    }
  }
}

function answer(
  question: ServerReflectionRequest['messageRequest'] | AlphaRequest['messageRequest'],
  descriptors: Descriptors,
) {
  switch (question.case) {
    case 'listServices':
      return {
        case: 'listServicesResponse' as const,
        value: { service: descriptors.services.map((name) => ({ name })) },
      }
    case 'fileByFilename':
      return files(descriptors.byName(question.value))
    case 'fileContainingSymbol':
      return files(descriptors.bySymbol(question.value))
    case 'fileContainingExtension':
    case 'allExtensionNumbersOfType':
      return missing('There are no extensions here.')
    case undefined:
      return {
        case: 'errorResponse' as const,
        value: { errorCode: Code.InvalidArgument, errorMessage: 'The question is empty.' },
      }
  }
}

function files(found: Uint8Array[] | undefined) {
  if (found === undefined) return missing('There is nothing of that name here.')
  return { case: 'fileDescriptorResponse' as const, value: { fileDescriptorProto: found } }
}

function missing(errorMessage: string) {
  return { case: 'errorResponse' as const, value: { errorCode: Code.NotFound, errorMessage } }
}
