// What the rounds of a group amount to: medians, ratios within rounds, and which aims are reached.

import { spread } from './statistics.mjs'

/** @typedef {{ median: number, least: number, most: number }} Spread */

/**
 * @typedef {object} Line
 * @property {string} name
 * @property {string} label
 * @property {string} [failure] why there are no numbers
 * @property {Record<string, Spread>} figures over the rounds
 * @property {Record<string, Spread>} ratios to the base: of each round's figures, then over the rounds
 * @property {import('./types.js').Figures[]} rounds
 */

/**
 * @typedef {object} Aim
 * @property {string} says
 * @property {string} limit
 * @property {Spread} [found] absent if it could not be measured
 * @property {boolean} reached
 */

/**
 * @param {import('./types.js').Group} group
 * @param {Map<string, import('./measure.mjs').Measured>} results
 */
export function summarize(group, results) {
  const base = results.get(group.base)
  /** @type {Line[]} */
  const lines = group.subjects.map(({ name, label }) => {
    const measured = results.get(name) ?? { rounds: [], failure: 'not measured' }
    if (measured.failure !== undefined) {
      return { name, label, failure: measured.failure, figures: {}, ratios: {}, rounds: [] }
    }
    return {
      name,
      label,
      figures: Object.fromEntries(
        group.columns.map(({ figure }) => [figure, spread(measured.rounds.map((round) => figureOf(round, figure)))]),
      ),
      ratios: Object.fromEntries(
        group.ratios.flatMap(({ figure }) => {
          const found = compared(measured, base, figure, 'ratio')
          return found === undefined ? [] : [[figure, found]]
        }),
      ),
      rounds: measured.rounds,
    }
  })
  return { lines, aims: group.targets.map((target) => judge(target, results)) }
}

/**
 * @param {import('./types.js').Target} target
 * @param {Map<string, import('./measure.mjs').Measured>} results
 * @returns {Aim}
 */
function judge({ says, subject, figure, against, by = 'ratio', atMost, atLeast }, results) {
  const limit = atMost === undefined ? `at least ${atLeast}` : `at most ${atMost}`
  const measured = results.get(subject)
  const found = against === undefined ? alone(measured, figure) : compared(measured, results.get(against), figure, by)
  if (found === undefined) return { says, limit, reached: false }
  const reached =
    found.median <= (atMost ?? Number.POSITIVE_INFINITY) && found.median >= (atLeast ?? Number.NEGATIVE_INFINITY)
  return { says, limit, found, reached }
}

/**
 * @param {import('./measure.mjs').Measured | undefined} measured
 * @param {string} figure
 */
function alone(measured, figure) {
  if (measured === undefined || measured.failure !== undefined) return undefined
  return spread(measured.rounds.map((round) => figureOf(round, figure)))
}

/**
 * @param {import('./measure.mjs').Measured | undefined} measured
 * @param {import('./measure.mjs').Measured | undefined} base
 * @param {string} figure
 * @param {'ratio' | 'difference'} by
 */
function compared(measured, base, figure, by) {
  if (measured === undefined || base === undefined) return undefined
  if (measured.failure !== undefined || base.failure !== undefined) return undefined
  const values = measured.rounds.map((round, index) => {
    const [ours, theirs] = [figureOf(round, figure), figureOf(base.rounds[index] ?? {}, figure)]
    return by === 'ratio' ? ours / theirs : ours - theirs
  })
  return spread(values)
}

/**
 * @param {import('./types.js').Figures} figures
 * @param {string} name
 */
function figureOf(figures, name) {
  return figures[name] ?? Number.NaN
}
