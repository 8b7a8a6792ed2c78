/** The rank of a sandbox: readings of its processor time decide whether it stands behind everybody. */

/** Of a core: more is a computation, not a server that loads or an answer on its way. */
const LONG_CORES = 0.25
/** What the newest period counts for: half a core is long after two, a whole period of the loading of a server is not. */
const NEWEST_SHARE = 0.4
/** Who stands behind may be quiet because nobody lets it run: so many quiet periods bring it forward. */
const QUIET_PERIODS = 5

/** Processor time used until then, on one monotonic clock; undefined where nothing tells. */
export type Reading = { usedMs: number | undefined; atMs: number }

export type Rank = {
  isBehind: boolean
  /** The last reading: where the next period begins. */
  reading: Reading
  /** Used lately: a mean in which older periods fade. */
  cores: number
  /** Since it was last long, while it stands behind. */
  quietPeriods: number
}

/** In front, as everybody begins. */
export function firstRank(reading: Reading): Rank {
  return { isBehind: false, reading, cores: 0, quietPeriods: 0 }
}

/** The rank after one more period, at whose end this was read; `longCores` where less than the usual is long already. */
export function nextRank(rank: Rank, reading: Reading, longCores = LONG_CORES): Rank {
  const newest = coresBetween(rank.reading, reading)
  const cores =
    newest === undefined ? rank.cores : rank.cores + (newest - rank.cores) * NEWEST_SHARE
  if (newest !== undefined && cores >= Math.min(LONG_CORES, longCores)) {
    return { isBehind: true, reading, cores, quietPeriods: 0 }
  }
  const quietPeriods = rank.quietPeriods + 1
  return { isBehind: rank.isBehind && quietPeriods < QUIET_PERIODS, reading, cores, quietPeriods }
}

/** Used in between, in cores; undefined where one of the two does not tell. */
export function coresBetween(from: Reading, to: Reading): number | undefined {
  if (from.usedMs === undefined || to.usedMs === undefined) return undefined
  return Math.max(0, to.usedMs - from.usedMs) / (to.atMs - from.atMs)
}
