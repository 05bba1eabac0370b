import test from 'ava'
import { chart } from '../harness/chart.mjs'
import { simulate } from '../harness/queue.mjs'
import { spread, summarize } from '../harness/summary.mjs'
import { groupOf } from './helpers/context.mjs'

test('a spread has the median, the least and the greatest value', (t) => {
  t.deepEqual(spread([3, 1, 2]), { median: 2, least: 1, most: 3 })
  t.deepEqual(spread([4, 1, 2, 100]), { median: 3, least: 1, most: 100 })
  t.deepEqual(spread([Number.NaN, Number.NaN]), { median: Number.NaN, least: Number.NaN, most: Number.NaN })
})

test('the simulated queue sends each customer to the first free server, in the order of arrival', (t) => {
  // With two servers, the third customer waits until 4 and the fourth until 6.
  t.deepEqual(simulate([0, 1, 2, 3], [10, 3, 2, 1], 2), [10, 3, 4, 4])
  t.deepEqual(simulate([0, 1, 2, 3], [10, 3, 2, 1], 4), [10, 3, 2, 1])
})

test('the simulated queue agrees with the formula of Pollaczek and Khinchine', (t) => {
  // In M/D/1 at 80 % load, the mean wait is 2 service times.
  let state = 1
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state + 0.5) / 2 ** 32
  }
  let now = 0
  const arrivals = Array.from({ length: 400_000 }, () => {
    now -= Math.log(random()) / 0.8
    return now
  })
  const times = simulate(arrivals, new Array(arrivals.length).fill(1), 1)
  const meanWait = times.reduce((sum, time) => sum + time - 1, 0) / times.length
  t.true(Math.abs(meanWait - 2) < 0.1, `${meanWait}`)
})

test('a ratio is taken within each round before the median is', (t) => {
  const subjects = ['baseline', 'subject'].map((name) => ({ name, label: name, measure: async () => ({}) }))
  const group = { ...groupOf(subjects), targets: [target('ratio', 2.5), target('difference', 9)] }
  const rounds = (/** @type {number[]} */ ...rates) => ({ rounds: rates.map((rate) => ({ rate })) })
  const results = new Map([
    ['baseline', rounds(1, 10, 100)],
    ['subject', rounds(3, 20, 110)],
  ])
  const { rows, targets } = summarize(group, results)
  t.deepEqual(rows[1]?.ratios, { rate: { median: 2, least: 1.1, most: 3 } })
  t.deepEqual(
    targets.map(({ measured, reached }) => [measured?.median, reached]),
    [
      [2, true],
      [10, false],
    ],
  )
})

test('a chart shows its labels and values, and escapes markup', (t) => {
  const value = { median: 12.34, least: 10, most: 20 }
  const svg = chart({ title: 'A < B', note: 'note', digits: 1, bars: [{ label: '"R&D"', highlighted: true, value }] })
  t.true(svg.startsWith('<svg ') && svg.endsWith('</svg>'))
  t.regex(svg, /A &lt; B/)
  t.regex(svg, /&quot;R&amp;D&quot;/)
  t.regex(svg, />12\.3</)
  t.regex(svg, /prefers-color-scheme: dark/)
})

/**
 * @param {'ratio' | 'difference'} comparison
 * @param {number} atMost
 * @returns {import('../harness/types.js').Target}
 */
function target(comparison, atMost) {
  return { description: comparison, subject: 'subject', metric: 'rate', baseline: 'baseline', comparison, atMost }
}
