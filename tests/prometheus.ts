/** A page of Prometheus text, read strictly: a line that is not what the format says is a fault. */
const sampleLine = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (-?[0-9.e+-]+|\+Inf|NaN)$/
const label = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/y

type Labels = Record<string, string>

export type Figures = {
  text: string
  /** The one figure with (at least) these labels. */
  value(name: string, labels?: Labels): number
  /** All figures of that name together; 0 without any. */
  sum(name: string): number
}

/** Throws where a line is malformed, a name is described twice, or its lines do not stand together. */
export function figuresFrom(text: string): Figures {
  const samples: { name: string; labels: Labels; value: number }[] = []
  const described = new Set<string>()
  let family = ''
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('# HELP ')) continue
    const type = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line)?.[1]
    if (type !== undefined) {
      if (described.has(type)) throw new Error(`${type} is described twice`)
      described.add(type)
      family = type
      continue
    }
    const [, name = '', labels = '', value = ''] = sampleLine.exec(line) ?? []
    if (name === '') throw new Error(`no figure: ${line}`)
    if (name.replace(/_(bucket|sum|count)$/, '') !== family && name !== family) {
      throw new Error(`${name} stands under ${family}`)
    }
    samples.push({ name, labels: labelsFrom(labels), value: Number(value) })
  }
  const named = (name: string, labels: Labels = {}) =>
    samples.filter(
      (sample) =>
        sample.name === name &&
        Object.entries(labels).every(([key, wanted]) => sample.labels[key] === wanted),
    )
  return {
    text,
    value(name, labels) {
      const [first, second] = named(name, labels)
      if (first === undefined || second !== undefined) {
        throw new Error(`${name} ${JSON.stringify(labels)} is not one figure`)
      }
      return first.value
    },
    sum: (name) => named(name).reduce((total, { value }) => total + value, 0),
  }
}

function labelsFrom(text: string): Labels {
  const labels: Labels = {}
  label.lastIndex = 0
  while (label.lastIndex < text.length) {
    const at = label.lastIndex
    const found = label.exec(text)
    if (found === null) throw new Error(`no labels: ${text.slice(at)}`)
    labels[found[1] ?? ''] = found[2] ?? ''
  }
  return labels
}
