import test from 'ava'
import { chart } from '../harness/chart.mjs'
import { simulate } from '../harness/queue.mjs'
import { median, percentile, spread } from '../harness/statistics.mjs'
import { summarize } from '../harness/summary.mjs'
import { groupOf } from './context.mjs'

test('a median is the middle one, or between the two in the middle', (t) => {
  t.is(median([5, 1, 100]), 5)
  t.is(median([4, 1, 2, 100]), 3)
  t.deepEqual(spread([3, 1, 2]), { median: 2, least: 1, most: 3 })
})

test('a percentile is a number that was measured', (t) => {
  const values = Array.from({ length: 200 }, (_, index) => 200 - index)
  t.is(percentile(values, 99), 198)
  t.is(percentile(values, 100), 200)
  t.is(percentile([7], 50), 7)
})

test('in the ideal queue customers go to whoever is free first, in the order of arrival', (t) => {
  // Two servers: the third waits for the second's end at 4, the fourth for the third's at 6.
  t.deepEqual(simulate([0, 1, 2, 3], [10, 3, 2, 1], 2), [10, 3, 4, 4])
  t.deepEqual(simulate([0, 1, 2, 3], [10, 3, 2, 1], 4), [10, 3, 2, 1])
})

test('the simulated queue keeps to the formula of Pollaczek and Khinchine', (t) => {
  // M/D/1 at 80 % load waits for 2 services in the mean. The generator is that of crates/load, in miniature.
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
  const waited = times.reduce((sum, time) => sum + time - 1, 0) / times.length
  t.true(Math.abs(waited - 2) < 0.1, `${waited}`)
})

test('a ratio is taken within each round before the median is', (t) => {
  const subjects = ['theirs', 'ours'].map((name) => ({ name, label: name, measure: async () => ({}) }))
  const group = { ...groupOf(subjects), targets: [aim('ratio', 2.5), aim('difference', 9)] }
  const rounds = (/** @type {number[]} */ ...rates) => ({ rounds: rates.map((rate) => ({ rate })) })
  const results = new Map([
    ['theirs', rounds(1, 10, 100)],
    ['ours', rounds(3, 20, 110)],
  ])
  const { lines, aims } = summarize(group, results)
  t.deepEqual(lines[1]?.ratios, { rate: { median: 2, least: 1.1, most: 3 } })
  t.deepEqual(
    aims.map(({ found, reached }) => [found?.median, reached]),
    [
      [2, true],
      [10, false],
    ],
  )
})

test('a picture shows what it is given, and no markup of it', (t) => {
  const value = { median: 12.34, least: 10, most: 20 }
  const picture = chart({ title: 'A < B', note: 'note', digits: 1, lines: [{ label: '"R&D"', ours: true, value }] })
  t.true(picture.startsWith('<svg ') && picture.endsWith('</svg>\n'))
  t.regex(picture, /A &lt; B/)
  t.regex(picture, /&quot;R&amp;D&quot;/)
  t.regex(picture, />12\.3</)
  t.regex(picture, /prefers-color-scheme: dark/)
})

/**
 * @param {'ratio' | 'difference'} by
 * @param {number} atMost
 * @returns {import('../harness/types.js').Target}
 */
function aim(by, atMost) {
  return { says: by, subject: 'ours', figure: 'rate', against: 'theirs', by, atMost }
}
