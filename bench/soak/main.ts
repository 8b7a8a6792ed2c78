/** `./bmm soak [--minutes N] [--json]`: wiring only. */
import { soakReport } from './report.ts'
import { soak } from './soak.ts'

const result = await soak(Number(process.argv[2] ?? '10'))
const asJson = process.argv.includes('--json')
process.stdout.write(`${asJson ? JSON.stringify(result) : soakReport(result)}\n`)
process.exit(result.violations.length === 0 ? 0 : 1)
