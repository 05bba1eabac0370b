// Summarizes the rounds of a group: medians, ratios within rounds, and targets.

import { max, median, min } from 'simple-statistics'

/** @typedef {{ median: number, least: number, most: number }} Spread */

/**
 * @typedef {object} Row
 * @property {string} name
 * @property {string} label
 * @property {string} [failure] why the row has no metrics
 * @property {Record<string, Spread>} metrics over all rounds
 * @property {Record<string, Spread>} ratios to the baseline, taken within each round
 * @property {import('./types.js').Metrics[]} rounds
 */

/**
 * @typedef {object} TargetResult
 * @property {string} description
 * @property {string} limit
 * @property {Spread} [measured] missing if a measurement failed
 * @property {boolean} reached
 */

/** @typedef {{ rows: Row[], targets: TargetResult[] }} Summary */

/**
 * Returns the median, the least and the greatest of one or more values.
 *
 * @param {number[]} values
 * @returns {Spread}
 */
export function spread(values) {
  return { median: median(values), least: min(values), most: max(values) }
}

/**
 * @param {import('./types.js').Group} group
 * @param {Map<string, import('./measure.mjs').Measured>} results
 * @returns {Summary}
 */
export function summarize(group, results) {
  const rows = group.subjects.map(({ name, label }) => {
    const { failure, rounds = [] } = results.get(name) ?? { failure: 'not measured' }
    if (failure !== undefined) return { name, label, failure, metrics: {}, ratios: {}, rounds: [] }
    const spreads = (/** @type {{ metric: string }[]} */ columns, /** @type {string | undefined} */ baseline) =>
      Object.fromEntries(
        columns.flatMap(({ metric }) => {
          const values = compare(results, { subject: name, metric, ...(baseline && { baseline }) })
          return values === undefined ? [] : [[metric, spread(values)]]
        }),
      )
    return {
      name,
      label,
      metrics: spreads(group.columns, undefined),
      ratios: spreads(group.ratios, group.baseline),
      rounds,
    }
  })
  return { rows, targets: group.targets.map((target) => judge(target, results)) }
}

/**
 * @param {import('./types.js').Target} target
 * @param {Map<string, import('./measure.mjs').Measured>} results
 * @returns {TargetResult}
 */
function judge(target, results) {
  const { description, atMost = Number.POSITIVE_INFINITY, atLeast = Number.NEGATIVE_INFINITY } = target
  const limit = target.atMost === undefined ? `at least ${atLeast}` : `at most ${atMost}`
  const values = compare(results, target)
  if (values === undefined) return { description, limit, reached: false }
  const measured = spread(values)
  return { description, limit, measured, reached: measured.median <= atMost && measured.median >= atLeast }
}

/**
 * Returns a metric of each round, alone or compared with the baseline's metric of the same round. Returns undefined if a
 * measurement failed.
 *
 * @param {Map<string, import('./measure.mjs').Measured>} results
 * @param {Pick<import('./types.js').Target, 'subject' | 'metric' | 'baseline' | 'comparison'>} wanted
 * @returns {number[] | undefined}
 */
function compare(results, { subject, metric, baseline, comparison = 'ratio' }) {
  const values = metricOf(results.get(subject), metric)
  if (baseline === undefined) return values
  const base = metricOf(results.get(baseline), metric)
  if (values === undefined || base === undefined) return undefined
  return values.map((value, round) => {
    const other = base[round] ?? Number.NaN
    return comparison === 'ratio' ? value / other : value - other
  })
}

/**
 * @param {import('./measure.mjs').Measured | undefined} measured
 * @param {string} metric
 */
function metricOf(measured, metric) {
  if (measured === undefined || measured.failure !== undefined) return undefined
  return measured.rounds.map((round) => round[metric] ?? Number.NaN)
}
