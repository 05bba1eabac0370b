// A failed measurement gives a reason instead of numbers.

import test from 'ava'
import { MeasurementError } from '../harness/measurement-error.mjs'
import { groupReport } from '../harness/report.mjs'
import { summarize } from '../harness/summary.mjs'
import { groupOf, hasLoad, measure, underLoad } from './helpers/context.mjs'
import { fixture } from './helpers/fixture.mjs'

const withLoad = hasLoad ? test : test.skip

/**
 * @param {import('ava').ExecutionContext} t
 * @param {import('../harness/types.js').Subject} subject
 * @param {RegExp} reason
 */
async function fails(t, subject, reason) {
  const results = await measure([subject])
  t.regex(results.get(subject.name)?.failure ?? 'a number', reason)
  const group = groupOf([subject])
  const summary = summarize(group, results)
  t.like(summary.rows[0], { metrics: {}, ratios: {}, rounds: [] })
  t.deepEqual(
    summary.targets.map(({ measured, reached }) => ({ measured, reached })),
    [{ measured: undefined, reached: false }],
  )
  const text = groupReport(group, summary)
  t.regex(text, /FAILED: /)
  t.regex(text, /not measured/)
  t.notRegex(text.replace(/FAILED: .*/, ''), /\d{2}/)
}

withLoad('an answer that belongs to another connection fails the measurement', async (t) => {
  await fails(
    t,
    underLoad(fixture('answers-wrong-token')),
    /^wrong answers: 270 ok, 30 wrong, 30 tokens answered twice/,
  )
})

withLoad('a server that exits fails the measurement', async (t) => {
  await fails(t, underLoad(fixture('exits-while-answering')), /^exits-while-answering exited with exit code 3/)
})

withLoad('a server that loses a process fails the measurement, even if the server continues', async (t) => {
  await fails(
    t,
    underLoad(fixture('loses-a-process', 2), 2000),
    /^process \d+ of the server exited during the measurement/,
  )
})

withLoad('too few answers fail the measurement', async (t) => {
  await fails(
    t,
    underLoad(fixture('exits-while-answering'), 99),
    /^too few correct answers: 99 instead of at least 100/,
  )
})

test('a server that exits before it is ready fails the measurement', async (t) => {
  await fails(t, underLoad(fixture('exits-before-ready')), /^exits-before-ready exited with exit code 7\. cannot start/)
})

test('one failed round fails the subject, and no other subject', async (t) => {
  const working = { name: 'working', label: 'working', measure: async () => ({ rate: 5 }) }
  const failing = {
    name: 'failing',
    label: 'failing',
    measure: async (/** @type {import('../harness/types.js').Context} */ { round }) => {
      if (round === 1) throw new MeasurementError('a failure')
      return { rate: 5 }
    },
  }
  const results = await measure([working, failing])
  t.is(results.get('failing')?.failure, 'a failure')
  const { rows } = summarize(groupOf([working, failing]), results)
  t.deepEqual(rows[0]?.metrics, { rate: { median: 5, least: 5, most: 5 } })
  t.deepEqual(rows[1]?.metrics, {})
})

test('an error of the benchmark itself is not a failed measurement', async (t) => {
  const broken = { name: 'broken', label: 'broken', measure: async () => Promise.reject(new TypeError('a mistake')) }
  await t.throwsAsync(measure([broken]), { instanceOf: TypeError, message: 'a mistake' })
})
