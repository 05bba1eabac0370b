// The options of connect(path), and the backoff between two attempts.

import test from 'ava'
import fc from 'fast-check'
import { library } from '../helpers/library.js'

const { Backoff } = library('backoff')
const { parseConnectOptions } = library('client/client-options')

test('delays double up to maxDelay, and reset() starts again with minDelay', (t) => {
  const backoff = new Backoff({ minDelay: 100, maxDelay: 1000 }, 0.5)
  t.deepEqual(
    [0, 0, 0, 0, 0, 0].map((jitter) => backoff.next(jitter)),
    [100, 200, 400, 800, 1000, 1000],
  )
  t.is(backoff.failures, 6)
  backoff.reset()
  t.deepEqual([backoff.failures, backoff.next(0), backoff.failures], [0, 100, 1])
})

test('jitter shortens a delay by up to a half, and a delay is never 0 and never above maxDelay', (t) => {
  const delays = fc.tuple(fc.integer({ min: 1, max: 1000 }), fc.integer({ min: 0, max: 2 ** 31 - 1001 }))
  const jitters = fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { maxLength: 50 })
  fc.assert(
    fc.property(delays, jitters, ([minDelay, more], taken) => {
      const maxDelay = minDelay + more
      const backoff = new Backoff({ minDelay, maxDelay }, 0.5)
      for (const [index, jitter] of taken.entries()) {
        const longest = Math.min(maxDelay, minDelay * 2 ** index)
        const delay = backoff.next(jitter)
        if (delay < 1 || delay < Math.floor(longest / 2) || delay > longest || !Number.isInteger(delay)) return false
      }
      return true
    }),
  )
  t.pass()
})

test('connect options with a path join that path, and without one connect to the parent', (t) => {
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
  [
    'a path that is not a string',
    { path: 5 },
    'ERR_INVALID_ARG_TYPE',
    /^The "options.path" property must be of type string/,
  ],
  ['an empty path', '', 'ERR_INVALID_ARG_VALUE', /^The "path" argument must not be empty/],
  ['a null byte within a path', 'a\0b', 'ERR_INVALID_ARG_VALUE', /null bytes/],
  [
    'reconnect without a path',
    { reconnect: false },
    'ERR_INVALID_ARG_VALUE',
    /^The "options.reconnect" property is only allowed with a path/,
  ],
  ['a string for reconnect', { path: 'x', reconnect: 'no' }, 'ERR_INVALID_ARG_TYPE', /of type object/],
  [
    'a minDelay of 0',
    { path: 'x', reconnect: { minDelay: 0 } },
    'ERR_OUT_OF_RANGE',
    /"options.reconnect.minDelay".* >= 1/,
  ],
  [
    'a maxDelay below minDelay',
    { path: 'x', reconnect: { minDelay: 10, maxDelay: 9 } },
    'ERR_OUT_OF_RANGE',
    /"options.reconnect.maxDelay".* >= 10/,
  ],
] as const) {
  test(`connect() refuses ${what}`, (t) => {
    t.throws(() => Reflect.apply(parseConnectOptions, undefined, [options]), { code, message })
  })
}
