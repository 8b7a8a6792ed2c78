/** What speaks to a model: patterns over folded words, and over the text as it is written. */
import type { TextRule } from './finding.ts'

export type ProsePattern = { rule: TextRule; pattern: RegExp; message: string }

const ignoring = 'This text tells a model to ignore its instructions.'
const overriding = 'This text poses as a system prompt.'
const hiding = 'This text asks a model to keep something from the person.'
const preferring = 'This text tells a model to prefer this tool over others.'
const fetching = 'This text tells a model to read private files or data of the person.'

/** Words that may stand between the verb and what is to be ignored: none of them belongs to an API's own nouns. */
const between =
  '(?:(?:all|any|every|each|the|these|those|this|that|of|your|you|my|our|other|and|or|everything|in|from|is|are|were|was|have|been|given|to) ){0,6}'
const past = '(?:previous|prior|preceding|earlier|above|former|foregoing|safety|developer)'
const earlier = `(?:${past}|existing|original|initial|system|security|current)`
const orders =
  '(?:instructions?|prompts?|directions?|directives?|guidelines?|guardrails?|system messages?|commands)'
const ignore =
  '(?:ignore|disregard|forget|discard|neglect|do not follow|dont follow|don t follow|stop following)'
/** What one also does to settings: only with orders that came before. */
const override = '(?:override|overrule|overwrite|bypass)'
const drop = `(?:${ignore}|${override})`
const never =
  '(?:do not|dont|don t|never|must not|mustn t|mustnt|should not|shouldnt|shouldn t|not to)'
const person = '(?:them|(?:(?:the|this|your) )?(?:user|users|human|humans|person|end user))'

/** Folded text: lower case, one space between words, no punctuation, camel case taken apart. */
export const foldedPatterns: readonly ProsePattern[] = [
  ...[
    `\\b${ignore} ${between}${earlier} (?:(?:${earlier}|and|or) )*${between}${orders}\\b`,
    `\\b${override} ${between}${past} (?:(?:${earlier}|and|or) )*${between}${orders}\\b`,
    `\\b${drop} ${between}(?:your|you were given|you have been given) (?:${earlier} )?(?:instructions?|prompts?|guidelines?|guardrails?|training|rules|programming)\\b`,
    `\\b${drop} (?:all|everything|anything) (?:of )?(?:the )?(?:instructions|prompts|you (?:were|have been) (?:told|taught|instructed)|(?:written |said |stated )?(?:above|before) (?:this|and instead|and do))\\b`,
    `\\b${drop} ${between}(?:instructions?|prompts?) ${between}(?:above|before this|so far|previously given|you received)\\b`,
    // Without any space, as in a name in lower case.
    '(?:ignore|disregard|forget)(?:all|any|your|the|of)*(?:previous|prior|above|earlier)(?:instruction|prompt|directive|command)s?',
  ].map((source) => rule('ignore_instructions', source, ignoring)),
  ...otherLanguages().map((source) => rule('ignore_instructions', source, ignoring)),
  ...[
    '\\bsystem ?prompt (?:override|overwrite|injection)\\b',
    '\\b(?:override|overwrite|replace) (?:the |your |my )(?:current |existing |original )?system ?prompt (?:with|by|and|now)\\b',
  ].map((source) => rule('prompt_override', source, overriding)),
  rule(
    'prompt_override',
    '\\b(?:reveal|print|repeat|output|disclose|leak|show me|tell me|exfiltrate) (?:me )?(?:your|the entire|the full|the whole) (?:system ?prompt|hidden instructions|initial instructions|system instructions)\\b',
    'This text asks a model for its system prompt.',
  ),
  rule(
    'prompt_override',
    '\\byou are (?:now|no longer) (?:in )?(?:developer mode|dan|jailbroken|unrestricted|bound by|an? (?:unrestricted|uncensored|evil|jailbroken))\\b',
    'This text changes what a model takes itself for.',
  ),
  ...[
    `\\b${never} (?:ever )?(?:mention|reveal|disclose|tell|show) (?:this|these|any of this|it|that) (?:instructions? |step |call |fact )?to ${person}\\b`,
    `\\b${never} (?:ever )?(?:tell|let) ${person} (?:about|of|that you|that this|this|anything|any of|know|what you|why you|you)\\b`,
    `\\b(?:keep|hide|conceal) (?:this|that|it|these|them|all of this|what you do|the call|this call|this step) (?:a secret |secret |hidden |private )?from ${person}\\b`,
    `\\bwithout (?:ever )?(?:telling|mentioning (?:it|this|that|anything) to) ${person}\\b`,
    `\\b${person} (?:must|should) (?:not|never) (?:know|learn|find out|hear) (?:about|of|that) (?:this|these|it|you)\\b`,
    `\\b${never} (?:ever )?(?:mention|say|explain|admit|reveal|disclose) (?:that you|to ${person} that|this (?:step|call|instruction|tool|read|file)|what you (?:did|do|read|sent))`,
    `\\b${person} (?:must|should|may) (?:not|never) be (?:told|informed|made aware|warned)\\b`,
    '\\b(?:secretly|covertly|discreetly|without anyone noticing) (?:\\w+ )?(?:send|forward|call|read|copy|upload|collect|include|pass|append|attach)\\b',
  ].map((source) => rule('keep_from_person', source, hiding)),
  ...[
    '\\b(?:always |first |only |must |you )*(?:call|use|run|invoke|prefer|choose|pick) (?:only )?this (?:tool|function|server)(?: first)? (?:before|instead of|rather than|over|and not|not) (?:(?:all|any|every|each|the|of) )*others?\\b',
    '\\buse only this (?:tool|function|server)\\b.{0,40}\\bnot (?:the |any )?others?\\b',
    `\\b(?:for|on|with) (?:every|each|all|any) (?:question|request|task|message|prompt)s?\\b.{0,60}\\b(?:use|call|invoke) (?:only )?this (?:tool|function|server) (?:only|first|and no)?\\b`,
    `\\b${never} (?:use|call|invoke|trust|choose) (?:any |any of )?(?:the )?other (?:tool|function|mcp server)s?\\b`,
    '\\bthis (?:tool|function) (?:must|should|has to|needs to) (?:always )?be (?:called|used|invoked|run) (?:first )?(?:before|instead of) (?:(?:all|any|every|each|the|of) )*others?\\b',
    '\\bthis (?:tool|function|server) (?:supersedes|replaces|overrides|is better than) (?:(?:all|any|every|each|the|of) )*others?\\b',
    '\\b(?:always|you must|must always) (?:call|use|run|invoke) this (?:tool|function) (?:first )?(?:before|after|for|on|in|with) (?:every|each|any|all) (?:message|answer|response|request|question|tool|call|turn|conversation|task)s?\\b',
  ].map((source) => rule('tool_preference', source, preferring)),
  ...[
    '\\b(?:include|add|put|pass|send|append|attach|forward|copy|paste|write|provide|supply) (?:(?:all|any|every|the|whole|entire|full|complete|of) )*your (?:(?:whole|entire|full|complete|previous) (?:conversation|chat|messages)|(?:conversation|chat|message) (?:history|log|so far))\\b',
    '\\b(?:include|add|put|pass|send|append|attach|forward|copy|paste|write|provide|supply) (?:(?:all|any|every|the|whole|entire|full|complete|of|your) )*(?:system ?prompt|context window|conversation (?:so far|with (?:the|this) user)|previous messages of (?:the|this) (?:user|conversation|chat))\\b',
    '\\b(?:include|add|put|pass|append|attach|copy|paste) (?:(?:all|every|the|of|your) )*(?:environment variables|api keys|passwords|secrets|private keys|access tokens) (?:that |which )?(?:you (?:know|have|can (?:read|find|see))|of this machine|on this machine|from (?:the|your) (?:environment|context|conversation|memory))\\b',
  ].map((source) => rule('private_data', source, fetching)),
]

/** Tags of prompts and comments that address a model, in the text as it is. */
const speaker = '(?:system|assistant|developer|instructions?|important|secret|hidden|admin)'
const order =
  '(?:you|your|always|never|must|do not|don.t|before|call|ignore|disregard|instead|forward|send|user)'
const privatePath =
  '(?:(?:~|\\$HOME|\\$\\{HOME\\}|%USERPROFILE%|/root|/home/[^\\s/]+|/Users/[^\\s/]+)[/\\\\]\\.?[\\w.-]+|/etc/(?:passwd|shadow|hosts)|id_(?:rsa|ed25519|ecdsa)(?!\\.pub)|\\.(?:env|netrc|npmrc|pgpass|git-credentials|aws[/\\\\]credentials|ssh[/\\\\][\\w.]+|kube[/\\\\]config)|claude_desktop_config\\.json|mcp\\.json)(?![\\w.]*\\.pub)'

export const writtenPatterns: readonly ProsePattern[] = [
  written('prompt_override', '<\\|(?:im_start|start_header_id)\\|>\\s*(?:system|developer)', 'i'),
  written('prompt_override', '<\\|(?:system|developer)\\|>', 'i'),
  written('prompt_override', '<<SYS>>'),
  written('prompt_override', '\\[INST\\][^]{0,2000}\\[/INST\\]'),
  written(
    'prompt_override',
    '^\\s*#{2,}\\s*system\\s*(?:prompt|message|override)\\s*:?\\s*#*\\s*$',
    'im',
  ),
  written('prompt_override', `<${speaker}>[^<>]{0,400}\\b${order}\\b`, 'i'),
  written(
    'prompt_override',
    `<!--\\s*(?:note to (?:the )?)?(?:assistant|system|ai|model|llm|agent|claude|chatgpt|gpt|gemini|copilot)\\s*[:,]`,
    'i',
  ),
  written(
    'prompt_override',
    `<!--[^>]{0,400}\\b(?:tell|mention|inform)\\b[^>]{0,60}\\b(?:user|person|human)\\b`,
    'i',
  ),
  written(
    'prompt_override',
    '</?(?:tool_response|tool_result|function_calls?|function_results?|system_prompt|system-reminder|tool_use)>',
    'i',
  ),
  written(
    'prompt_override',
    '^\\s*\\[?(?:system|developer)\\]?\\s*:\\s*(?:you|always|never|ignore|from now)\\b',
    'im',
  ),
  written(
    'prompt_override',
    '\\n\\s*\\n(?:human|assistant|user):\\s*(?:you|always|never|ignore|sure|ok|please|call|send)\\b',
    'i',
  ),
  {
    rule: 'private_data',
    pattern: new RegExp(
      `\\b(?:read|open|cat|access|attach|append|upload|copy|include|send|print)\\b(?: (?:the|whole|file|files|contents?|output|of|your|from|in|at|all))*[\\s\`'"(]+(?:[A-Za-z]:)?[\\w./\\\\-]*?${privatePath}`,
      'i',
    ),
    message: fetching,
  },
  {
    rule: 'private_data',
    pattern: new RegExp(
      `\\b(?:read|open|cat|load|attach|upload|copy|put|paste|include|send|fetch)\\b[^.!?\\n]{0,60}(?:^|[\\s\`'"(])${privatePath}[^]{0,80}\\b(?:put|pass|include|send|into|in the|as the|add|attach|append|write|to)\\b[^.!?\\n]{0,60}(?:\`|\\b(?:parameter|argument|field|note|context|input)\\b)`,
      'i',
    ),
    message: fetching,
  },
]

function rule(name: TextRule, source: string, message: string): ProsePattern {
  return { rule: name, pattern: new RegExp(source), message }
}

function written(name: TextRule, source: string, flags = ''): ProsePattern {
  return { rule: name, pattern: new RegExp(source, flags), message: overriding }
}

/** "Ignore all previous instructions" in languages that models read as well as English; decomposed like folded text. */
function otherLanguages(): string[] {
  return [
    // German, Dutch
    '\\b(?:ignoriere?n?|vergiss|vergessen sie|missachte) (?:bitte |sie )?(?:alle |alles |die |deine |ihre |jegliche )*(?:vorherigen|bisherigen|vorigen|obigen|fruheren|vorangegangenen) (?:anweisungen|befehle|instruktionen|vorgaben|regeln)\\b',
    '\\b(?:negeer|vergeet) (?:alle |de |je )*(?:vorige|eerdere|voorgaande|bovenstaande) (?:instructies|opdrachten|aanwijzingen)\\b',
    // French
    '\\b(?:ignore[sz]?|oublie[sz]?) (?:toutes? )?(?:les |tes |vos )?(?:instructions|consignes|directives) (?:precedentes|anterieures|ci dessus)\\b',
    // Spanish, Portuguese, Italian
    '\\b(?:ignora|ignore|ignoren|olvida|olvide|desestima) (?:todas? )?(?:las |tus |sus )?(?:instrucciones|indicaciones|ordenes|reglas) (?:anteriores|previas)\\b',
    '\\b(?:ignore|ignora|esqueca|esquece|desconsidere) (?:todas? )?(?:as |suas |tuas )?(?:instrucoes|ordens|regras) (?:anteriores|previas|acima)\\b',
    '\\b(?:ignora|ignorate|dimentica|dimenticate) (?:tutte )?(?:le |tue |vostre )*(?:istruzioni|indicazioni|regole) (?:precedenti|sopra|anteriori)\\b',
    // Polish, Turkish, Indonesian, Vietnamese
    '\\b(?:zignoruj|ignoruj|zapomnij) (?:o )?(?:wszystkie|wszystkich )?(?: ?poprzednie|poprzednich) (?:instrukcje|instrukcjach|polecenia|poleceniach)\\b',
    '\\b(?:onceki|yukarıdaki|yukaridaki) (?:tum |butun )?(?:talimatlar|komutlar|yonergeler)\\S* (?:yok say|gormezden gel|unut|dikkate alma)',
    '\\babaikan (?:semua )?(?:instruksi|perintah|petunjuk) (?:sebelumnya|di atas)\\b',
    'bo qua (?:tat ca )?(?:cac |moi )?(?:huong dan|chi dan|lenh|chi thi) (?:truoc|o tren|phia tren)',
    // Russian, Ukrainian
    '(?:забудь|забудьте|игнорируй|игнорируйте|проигнорируй|проигнорируйте|не следуй|не следуйте|отбрось) (?:(?:все|всё|всем|любые|эти|свои|своим|твои|ваши|о) )*(?:предыдущие|предыдущим|прошлые|прежние|прежним|вышеуказанные|системные|системным|ранние) (?:указания|указаниям|инструкции|инструкциям|команды|командам|правила|приказы|подсказки)',
    '(?:забудь|забудьте|ігноруй|ігноруйте|проігноруй) (?:(?:всі|усі|свої) )*(?:попередні|системні) (?:вказівки|інструкції|команди|правила)',
    // Chinese
    '(?:忽略|無視|无视|忘记|忘記|忽視|忽视|不要理会|不要理會)(?:之前|以上|先前|前面|上述)?(?:的)?(?:所有|全部|一切)?(?:之前|以上|先前|前面|上述)?(?:的)?(?:指令|指示|提示词|提示詞|命令)',
    // Japanese
    '(?:上|上記|以前|以上|前|これまで|先ほど|いままで|今まで) ?の ?(?:すべて|全て|全部)?(?:の)?(?:指示|命令|指令|ルール|プロンプト|インストラクション) ?(?:は|を|も)? ?(?:すべて|全て|全部)? ?(?:無視|忘れ|破棄)',
    // Korean
    '(?:이전|위|앞|지금까지)(?:의|에 있는)? ?(?:모든 )?(?:지시|명령|지침|프롬프트)(?:사항)?(?:들)?(?:을|를|은|는)? ?(?:모두 |전부 )?(?:무시|잊)',
    // Arabic, Hindi
    '(?:تجاهل|انس|تجاهلي) (?:جميع |كل )?(?:التعليمات|الأوامر|الارشادات|الإرشادات) (?:السابقة|أعلاه)',
    '(?:पिछले|पहले के|उपरोक्त) (?:सभी )?(?:निर्देशों|आदेशों|निर्देश) (?:को )?(?:अनदेखा|नजरअंदाज|नज़रअंदाज़|भूल)',
  ].map((source) => source.normalize('NFKD').replace(/\p{M}/gu, ''))
}
