// What a process that joins a server by itself is told, and how long it waits between two tries.

import test from 'ava'
import fc from 'fast-check'
import { library } from '../helpers/library.js'

const { Backoff } = library('client/channel/backoff')
const { parseConnectOptions } = library('client/client-options')

test('pauses double up to the longest, and begin anew when a server has lasted', (t) => {
  const backoff = new Backoff({ minDelay: 100, maxDelay: 1000 })
  t.deepEqual(
    [0, 0, 0, 0, 0, 0].map((chance) => backoff.next(chance)),
    [100, 200, 400, 800, 1000, 1000],
  )
  t.is(backoff.failures, 6)
  backoff.reset()
  t.deepEqual([backoff.failures, backoff.next(0), backoff.failures], [0, 100, 1])
})

test('chance takes off up to a half of a pause, which is never nothing and never beyond the longest', (t) => {
  const delays = fc.tuple(fc.integer({ min: 1, max: 1000 }), fc.integer({ min: 0, max: 2 ** 31 - 1001 }))
  const chances = fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { maxLength: 50 })
  fc.assert(
    fc.property(delays, chances, ([minDelay, more], taken) => {
      const maxDelay = minDelay + more
      const backoff = new Backoff({ minDelay, maxDelay })
      for (const [index, chance] of taken.entries()) {
        const longest = Math.min(maxDelay, minDelay * 2 ** index)
        const delay = backoff.next(chance)
        if (delay < 1 || delay < Math.floor(longest / 2) || delay > longest || !Number.isInteger(delay)) return false
      }
      return true
    }),
  )
  t.pass()
})

test('a path alone, or among others, joins there; without one it is the parent that is connected to', (t) => {
  const reconnect = { minDelay: 100, maxDelay: 10_000 }
  t.deepEqual(parseConnectOptions({}), { port: 0, path: undefined, reconnect })
  t.deepEqual(parseConnectOptions('/run/app.ctl'), { port: 0, path: '/run/app.ctl', reconnect })
  t.deepEqual(parseConnectOptions('./8888'), { port: 0, path: './8888', reconnect })
  t.deepEqual(parseConnectOptions({ path: 'ctl', port: 80, reconnect: false }), {
    port: 80,
    path: 'ctl',
    reconnect: undefined,
  })
  t.deepEqual(parseConnectOptions({ path: 'ctl', reconnect: { minDelay: 20_000 } }).reconnect, {
    minDelay: 20_000,
    maxDelay: 20_000,
  })
})

for (const [what, options, code, message] of [
  ['a path that is none', { path: 5 }, 'ERR_INVALID_ARG_TYPE', /^The "options.path" property must be of type string/],
  ['an empty path', '', 'ERR_INVALID_ARG_VALUE', /^The "path" argument must not be empty/],
  ['a null byte within a path', 'a\0b', 'ERR_INVALID_ARG_VALUE', /null bytes/],
  [
    'reconnecting to a parent',
    { reconnect: false },
    'ERR_INVALID_ARG_VALUE',
    /^The "options.reconnect" property is for a path/,
  ],
  ['a word for reconnecting', { path: 'x', reconnect: 'no' }, 'ERR_INVALID_ARG_TYPE', /of type object/],
  ['no pause', { path: 'x', reconnect: { minDelay: 0 } }, 'ERR_OUT_OF_RANGE', /"options.reconnect.minDelay".* >= 1/],
  [
    'a longest pause that is shorter',
    { path: 'x', reconnect: { minDelay: 10, maxDelay: 9 } },
    'ERR_OUT_OF_RANGE',
    /"options.reconnect.maxDelay".* >= 10/,
  ],
] as const) {
  test(`${what} is told at once`, (t) => {
    t.throws(() => Reflect.apply(parseConnectOptions, undefined, [options]), { code, message })
  })
}
