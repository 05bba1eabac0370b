// A benchmark that goes wrong says so instead of a number.

import test from 'ava'
import { summarize } from '../harness/summary.mjs'
import { table } from '../harness/table.mjs'
import { Unmeasured } from '../harness/unmeasured.mjs'
import { groupOf, hasLoad, loaded, measured } from './context.mjs'
import { fixture } from './peers/fixture.mjs'

const withLoad = hasLoad ? test : test.skip

/**
 * @param {import('ava').ExecutionContext} t
 * @param {import('../harness/types.js').Subject} subject
 * @param {RegExp} reason
 */
async function fails(t, subject, reason) {
  const results = await measured([subject])
  t.regex(results.get(subject.name)?.failure ?? 'a number', reason)
  const group = groupOf([subject])
  const summary = summarize(group, results)
  t.like(summary.lines[0], { figures: {}, ratios: {}, rounds: [] })
  t.deepEqual(
    summary.aims.map(({ found, reached }) => ({ found, reached })),
    [{ found: undefined, reached: false }],
  )
  const text = table(group, summary)
  t.regex(text, /FAILED: /)
  t.regex(text, /NOT MEASURED/)
  t.notRegex(text.replace(/FAILED: .*/, ''), /\d{2}/)
}

withLoad('answers that belong to other connections', async (t) => {
  await fails(t, loaded(fixture('liar')), /^wrong answers: 270 ok, 30 wrong, 30 tokens answered twice/)
})

withLoad('a server that dies', async (t) => {
  await fails(t, loaded(fixture('mortal')), /^mortal ended with exit code 3/)
})

withLoad('a process of the server that dies, though the others go on', async (t) => {
  await fails(
    t,
    loaded(fixture('mortal-worker', 2), 2000),
    /^process \d+ of the server has ended while it was measured/,
  )
})

withLoad('too few answers', async (t) => {
  await fails(t, loaded(fixture('mortal'), 99), /^too few answers: 99 where 100 are the least/)
})

test('a server that does not get ready', async (t) => {
  await fails(t, loaded(fixture('stillborn')), /^stillborn ended with exit code 7\. there is no such luck/)
})

test('one round that fails spoils the line, and no other', async (t) => {
  const lucky = { name: 'lucky', label: 'lucky', measure: async () => ({ rate: 5 }) }
  const unlucky = {
    name: 'unlucky',
    label: 'unlucky',
    measure: async (/** @type {import('../harness/types.js').Context} */ { round }) => {
      if (round === 1) throw new Unmeasured('it rained')
      return { rate: 5 }
    },
  }
  const results = await measured([lucky, unlucky])
  t.is(results.get('unlucky')?.failure, 'it rained')
  const { lines } = summarize(groupOf([lucky, unlucky]), results)
  t.deepEqual(lines[0]?.figures, { rate: { median: 5, least: 5, most: 5 } })
  t.deepEqual(lines[1]?.figures, {})
})

test('an error of the benchmark itself is not taken for one of the server', async (t) => {
  const broken = { name: 'broken', label: 'broken', measure: async () => Promise.reject(new TypeError('a mistake')) }
  await t.throwsAsync(measured([broken]), { instanceOf: TypeError, message: 'a mistake' })
})
