import { inspect } from 'node:util'
import { SocketServerError } from '@socketserver/node'
import test from 'ava'
import { library } from '../helpers/library.js'

const { AbortError, hasCode, invalidType, invalidValue, outOfRange, systemError } = library('errors')

test('an error has its code, its cause and the known details, and no undefined property', (t) => {
  const cause = new Error('cause')
  const error = new SocketServerError('ERR_SOCKETSERVER_CLOSED', 'too late', { cause, pid: 7, address: undefined })
  t.true(error instanceof Error)
  t.is(error.name, 'SocketServerError')
  t.is(error.cause, cause)
  t.deepEqual(Object.keys(error).sort(), ['code', 'pid'])
  t.false('address' in error)
  t.is('cause' in new SocketServerError('ERR_SOCKETSERVER_CLOSED', 'too late'), false)
})

test('an error is inspected with name, message and code, as in Node', (t) => {
  const shown = inspect(new SocketServerError('ERR_SOCKETSERVER_CLOSED', 'too late'))
  t.regex(shown, /^SocketServerError: too late\n {4}at /)
  t.regex(shown, /code: 'ERR_SOCKETSERVER_CLOSED'/)
  t.notRegex(shown, /name:/)
})

test('a system error has the same message as in net', (t) => {
  const failure = { code: 'EADDRINUSE', errno: -98, message: 'address already in use' }
  const table = [
    [{ address: '127.0.0.1', port: 80 }, 'listen EADDRINUSE: address already in use 127.0.0.1:80'],
    [{ address: '/run/app.sock', port: -1 }, 'listen EADDRINUSE: address already in use /run/app.sock'],
    [{ address: '::', port: 0 }, 'listen EADDRINUSE: address already in use ::'],
    [{}, 'listen EADDRINUSE: address already in use'],
    [{ note: 'and more' }, 'listen EADDRINUSE: address already in use and more'],
  ] as const
  for (const [where, message] of table) {
    const error = systemError(failure, 'listen', where)
    t.like(error, { message, code: 'EADDRINUSE', errno: -98, syscall: 'listen' })
  }
})

test('errors about arguments are inspected as in Node', (t) => {
  const error = invalidType('size', 'of type number', null)
  t.regex(inspect(error), /^TypeError \[ERR_INVALID_ARG_TYPE\]: The "size" argument must be .*\n {4}at .*errors\.test/)
  t.is(error.name, 'TypeError')
  t.deepEqual(Object.keys(error), ['code'])
  t.regex(inspect(outOfRange('size', '>= 1', 0)), /^RangeError \[ERR_OUT_OF_RANGE\]: /)
})

test('errors about arguments have the same messages as in Node', (t) => {
  const table = [
    [
      invalidType('size', 'of type number', '5'),
      'The "size" argument must be of type number. Received type string (\'5\')',
    ],
    [invalidType('a.b', 'of type number', null), 'The "a.b" property must be of type number. Received null'],
    [invalidType('a', 'of type number', undefined), 'The "a" argument must be of type number. Received undefined'],
    [
      invalidType('a', 'of type number', class Foo {}),
      'The "a" argument must be of type number. Received function Foo',
    ],
    [
      invalidType('a', 'of type number', new Map()),
      'The "a" argument must be of type number. Received an instance of Map',
    ],
    [
      invalidType('a', 'of type number', Object.create(null)),
      'The "a" argument must be of type number. Received [Object: null prototype]',
    ],
    [
      invalidType('a', 'of type number', Symbol('s')),
      'The "a" argument must be of type number. Received type symbol (Symbol(s))',
    ],
    [invalidValue('a.b', 'x'), `The "a.b" property is invalid. Received 'x'`],
    [outOfRange('a', '>= 0', -1), 'The value of "a" is out of range. It must be >= 0. Received -1'],
  ] as const
  for (const [error, message] of table) t.is(error.message.slice(0, message.length), message)
})

test('a long value is truncated in the message', (t) => {
  const { message } = invalidValue('path', 'a'.repeat(1000))
  t.true(message.length < 200)
  t.true(message.endsWith('aaa...'))
})

test('an AbortError has the same name, code and message as in Node', (t) => {
  const reason = new Error('reason')
  t.like(new AbortError(reason), {
    name: 'AbortError',
    code: 'ABORT_ERR',
    message: 'The operation was aborted',
    cause: reason,
  })
})

test('hasCode() accepts any value', (t) => {
  t.true(hasCode({ code: 'A' }, 'A'))
  for (const value of [undefined, null, 'A', 5, {}, { code: 'B' }]) t.false(hasCode(value, 'A'))
})
