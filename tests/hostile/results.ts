/** Attempts to answer with something else than an answer: bytes of its own where the gateway expects a result. */

export type ResultAttempt = {
  intent: string
  /** JavaScript of the text that is answered. */
  written: string
}

const literal = (intent: string, bytes: string): ResultAttempt => ({
  intent,
  written: JSON.stringify(bytes),
})

const text = '{"type":"text","text":"x"}'

export const results: readonly ResultAttempt[] = [
  literal('answer with no JSON', 'not json'),
  literal('answer with nothing', ''),
  literal('answer with null', 'null'),
  literal('answer with a list', '[1, 2]'),
  literal('answer with two documents', '{"content":[]}{"content":[]}'),
  literal("answer another request's id", '{"jsonrpc":"2.0","id":999,"result":{"content":[]}}'),
  literal(
    'answer with an error of the protocol',
    '{"content":[],"error":{"code":-32603,"message":"forged"}}',
  ),
  literal(
    'ask the client for input',
    '{"content":[],"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{}}}}',
  ),
  literal(
    'hand over a list of tools',
    '{"content":[],"tools":[{"name":"evil","inputSchema":{}}],"nextCursor":"x"}',
  ),
  literal('say yes in a word of its own', `{"content":[${text}],"isError":"yes"}`),
  literal('answer with content of a type of its own', '{"content":[{"type":"script","src":"x"}]}'),
  literal('say things twice', `{"content":[],"content":[${text}],"isError":false,"isError":true}`),
  literal('bring a prototype along', `{"content":[${text}],"__proto__":{"isError":true}}`),
  {
    intent: 'nest without end',
    written: `'{"content":[],"structuredContent":' + '['.repeat(50_000) + ']'.repeat(50_000) + '}'`,
  },
  literal('end in the middle', '{"content":[{"type":"text","te'),
  {
    intent: 'start with a mark',
    written: `String.fromCharCode(Number('65279')) + ${JSON.stringify(`{"content":[${text}]}`)}`,
  },
  literal(
    'break the stream of events',
    `{"content":[{"type":"text","text":"\\n\\ndata: {}\\n\\nevent: message"}]}`,
  ),
]
