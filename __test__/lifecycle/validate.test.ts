import test from 'ava'
import fc from 'fast-check'
import { library } from '../helpers/library.js'

const { boolean, integer, isPortNumber, milliseconds, oneOf, optionsObject, path, port, signal, strings } =
  library('validate')

const OUT_OF_RANGE = { code: 'ERR_OUT_OF_RANGE', instanceOf: RangeError }
const INVALID_TYPE = { code: 'ERR_INVALID_ARG_TYPE', instanceOf: TypeError }
const INVALID_VALUE = { code: 'ERR_INVALID_ARG_VALUE', instanceOf: TypeError }

test('an integer is accepted if it is a whole number within its bounds', (t) => {
  fc.assert(
    fc.property(fc.integer(), fc.nat(), fc.oneof(fc.integer(), fc.double()), (min, span, value) => {
      const max = min + span
      if (Number.isInteger(value) && value >= min && value <= max) {
        t.is(integer('a', value, min, max), value)
      } else {
        t.throws(() => integer('a', value, min, max), OUT_OF_RANGE)
      }
    }),
  )
})

test('an integer is refused if it is not of type number', (t) => {
  fc.assert(
    fc.property(
      fc.anything().filter((value) => typeof value !== 'number'),
      (value) => void t.throws(() => integer('a', value, 0, 10), INVALID_TYPE),
    ),
  )
})

test('a port is a number or a string of its digits', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 65535 }), (value) => {
      t.is(port('port', value), value)
      t.is(port('port', String(value)), value)
      t.is(port('port', ` ${value} `), value)
    }),
  )
  for (const value of [-1, 65536, 1.5, '65536', '99999999999999999999'])
    t.throws(() => port('port', value), OUT_OF_RANGE)
  for (const value of ['', 'http', '0x50', '-1', '8e1', '80.0']) t.throws(() => port('port', value), INVALID_VALUE)
})

test('a string is a port only if it consists of digits', (t) => {
  for (const value of ['80', ' 80', '080']) t.true(isPortNumber(value), value)
  for (const value of ['', ' ', './80', '80.sock', '٨٠', 80, null]) t.false(isPortNumber(value), String(value))
})

test('milliseconds must fit a timer and have a default', (t) => {
  t.is(milliseconds('a', undefined, 7), 7)
  t.is(milliseconds('a', 0, 7), 0)
  t.is(milliseconds('a', 2 ** 31 - 1, 7), 2 ** 31 - 1)
  t.throws(() => milliseconds('a', 2 ** 31, 7), OUT_OF_RANGE)
  t.throws(() => milliseconds('a', null, 7), INVALID_TYPE)
})

test('a boolean must be of type boolean and has a default', (t) => {
  t.true(boolean('a', undefined, true))
  t.false(boolean('a', false, true))
  for (const value of [0, 1, 'true', null]) t.throws(() => boolean('a', value, true), INVALID_TYPE)
})

test('a path is a string that is not empty and has no null byte', (t) => {
  fc.assert(
    fc.property(fc.string(), (value) => {
      if (value === '' || value.includes('\0')) t.throws(() => path('a', value), INVALID_VALUE)
      else t.is(path('a', value), value)
    }),
  )
})

test('a list of strings is copied, and the error names the member that is not a string', (t) => {
  const list = ['a', 'b']
  t.deepEqual(strings('a', list), list)
  t.not(strings('a', list), list)
  t.deepEqual(strings('a', undefined), [])
  t.throws(() => strings('a', ['a', 'b', 5]), { ...INVALID_TYPE, message: /"a\[2\]"/ })
  t.throws(() => strings('a', 'ab'), INVALID_TYPE)
})

test('one of several words is accepted, and the error lists all of them', (t) => {
  t.is(oneOf('a', undefined, ['x', 'y'], 'y'), 'y')
  t.is(oneOf('a', 'x', ['x', 'y'], 'y'), 'x')
  t.throws(() => oneOf('a', 'z', ['x', 'y'], 'y'), { ...INVALID_VALUE, message: /must be one of: 'x', 'y'/ })
  t.throws(() => oneOf('a', 'toString', ['x', 'y'], 'y'), INVALID_VALUE)
})

test('a signal must be an AbortSignal', (t) => {
  const given = AbortSignal.abort()
  t.is(signal('a', given), given)
  t.is(signal('a', undefined), undefined)
  for (const value of [null, {}, { aborted: false }]) t.throws(() => signal('a', value), INVALID_TYPE)
})

test('options must be an object', (t) => {
  t.deepEqual(optionsObject('a', { b: 1 }, ['b']), { b: 1 })
  t.deepEqual(optionsObject('a', { c: undefined }, ['b']), { c: undefined })
  for (const value of [null, undefined, 5, 'a', [], () => {}])
    t.throws(() => optionsObject('a', value, []), INVALID_TYPE)
})

test('the error of an unknown option names the nearest one', (t) => {
  const unknown = (options: object, known: string[]): Error =>
    t.throws(() => optionsObject('options', options, known), { code: 'ERR_INVALID_ARG_VALUE' })
  t.regex(
    unknown({ maxQueu: 4 }, ['policy', 'maxQueue']).message,
    /"options.maxQueu" property is unknown; did you mean 'maxQueue'\. Received 4/,
  )
  t.regex(unknown({ entirely: 4 }, ['policy', 'maxQueue']).message, /known are policy, maxQueue/)
})
