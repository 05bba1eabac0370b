import test from 'ava'
import { library } from '../helpers/library.js'

const { Waiters } = library('descriptors/waiters')

test('calls wait in order until they are settled or aborted', async (t) => {
  let withdrawals = 0
  const waiters = new Waiters<string, number>(() => withdrawals++)
  const controller = new AbortController()
  const [first, second, third] = [
    waiters.wait('first', undefined),
    waiters.wait('second', controller.signal),
    waiters.wait('third', controller.signal),
  ]
  t.is(waiters.length, 3)
  t.is(waiters.first?.request, 'first')
  waiters.first?.resolve(1)
  t.is(waiters.first?.request, 'second')
  waiters.first?.resolve(2)
  controller.abort('reason')
  t.deepEqual([waiters.length, withdrawals], [0, 1])
  t.deepEqual(await Promise.all([first, second]), [1, 2])
  t.like(await t.throwsAsync(third), { code: 'ABORT_ERR', cause: 'reason' })
  await t.throwsAsync(waiters.wait('late', controller.signal), { code: 'ABORT_ERR' })
  const rest = [waiters.wait('a', undefined), waiters.wait('b', undefined)]
  waiters.reject(new Error('all'))
  for (const each of rest) await t.throwsAsync(each, { message: 'all' })
  t.is(waiters.first, undefined)
})
