import { Server, Socket } from 'node:net'
import test from 'ava'
import { library } from '../helpers/library.js'

const { descriptorNumber } = library('descriptors/descriptor-source')
const { socketName } = library('descriptors/socket-name')
const { Waiters } = library('descriptors/waiters')

const TYPE = { code: 'ERR_INVALID_ARG_TYPE', instanceOf: TypeError }
const VALUE = { code: 'ERR_INVALID_ARG_VALUE', instanceOf: TypeError }
const RANGE = { code: 'ERR_OUT_OF_RANGE', instanceOf: RangeError }

test('a descriptor is borrowed from its number, or from what has it open', (t) => {
  t.is(descriptorNumber('a', 5), 5)
  t.is(descriptorNumber('a', { fd: 6 }), 6)
  const table = [
    [-1, RANGE],
    [1.5, RANGE],
    [2 ** 31, RANGE],
    ['5', TYPE],
    [undefined, TYPE],
    [null, TYPE],
    [{}, TYPE],
    [{ fd: '5' }, TYPE],
    [{ fd: -1 }, VALUE],
    [{ fd: 0.5 }, VALUE],
    [new Socket(), VALUE],
    [new Server(), VALUE],
    [{ fd: 5, encrypted: true }, VALUE],
  ] as const
  for (const [source, expected] of table) {
    t.throws(() => descriptorNumber('list[3]', source), { ...expected, message: /"list\[3\]"/ })
  }
})

test('the name of a socket is a path, or abstract where there are such names', (t) => {
  t.deepEqual(socketName('a', '/run/ä'), { bytes: Buffer.from('/run/ä'), shown: '/run/ä' })
  t.throws(() => socketName('a', ''), { ...VALUE, message: /"a"/ })
  t.throws(() => socketName('a', 'a\0'), VALUE)
  t.throws(() => socketName('a', Buffer.from('a')), TYPE)
  if (process.platform === 'linux') {
    t.deepEqual(socketName('a', '\0b\0\n'), { bytes: Buffer.from('\0b\0\n'), shown: '@b\\x00\\n' })
    t.throws(() => socketName('a', '\0'), { ...VALUE, message: /must not be empty/ })
  } else {
    t.throws(() => socketName('a', '\0b'), { ...VALUE, message: /only Linux/ })
  }
})

test('calls wait in order, and one that is settled or withdrawn no longer does', async (t) => {
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
