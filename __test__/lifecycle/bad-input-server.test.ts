// Every option of the parent's side, out of range or of the wrong type: the error has Node's code, the name and the value.

import { createServer, type Server } from '@socketserver/node'
import test from 'ava'
import { fixture } from '../helpers/fixture.js'
import { forkFixture, startServer } from '../helpers/served.js'

type Row = readonly [value: unknown, code: keyof typeof CLASSES, quoted: string]

const CLASSES = {
  ERR_INVALID_ARG_TYPE: TypeError,
  ERR_INVALID_ARG_VALUE: TypeError,
  ERR_OUT_OF_RANGE: RangeError,
} as const

const NOT_A_NUMBER: readonly Row[] = [
  ['5', 'ERR_INVALID_ARG_TYPE', `type string ('5')`],
  [null, 'ERR_INVALID_ARG_TYPE', 'null'],
  [true, 'ERR_INVALID_ARG_TYPE', 'type boolean (true)'],
  [5n, 'ERR_INVALID_ARG_TYPE', 'type bigint (5n)'],
  [[], 'ERR_INVALID_ARG_TYPE', 'an instance of Array'],
  [Number.NaN, 'ERR_OUT_OF_RANGE', 'NaN'],
  [Number.POSITIVE_INFINITY, 'ERR_OUT_OF_RANGE', 'Infinity'],
  [1.5, 'ERR_OUT_OF_RANGE', '1.5'],
  [-1, 'ERR_OUT_OF_RANGE', '-1'],
]
const NOT_A_PORT: readonly Row[] = [
  [null, 'ERR_INVALID_ARG_TYPE', 'null'],
  [true, 'ERR_INVALID_ARG_TYPE', 'type boolean (true)'],
  ['http', 'ERR_INVALID_ARG_VALUE', `'http'`],
  ['', 'ERR_INVALID_ARG_VALUE', `''`],
  ['65536', 'ERR_OUT_OF_RANGE', '65536'],
  [65536, 'ERR_OUT_OF_RANGE', '65536'],
  [-1, 'ERR_OUT_OF_RANGE', '-1'],
  [0.5, 'ERR_OUT_OF_RANGE', '0.5'],
]
const NOT_A_BOOLEAN: readonly Row[] = [
  [0, 'ERR_INVALID_ARG_TYPE', 'type number (0)'],
  ['yes', 'ERR_INVALID_ARG_TYPE', `type string ('yes')`],
  [null, 'ERR_INVALID_ARG_TYPE', 'null'],
]
const NOT_A_PATH: readonly Row[] = [
  [7, 'ERR_INVALID_ARG_TYPE', 'type number (7)'],
  ['', 'ERR_INVALID_ARG_VALUE', `''`],
  ['a\0b', 'ERR_INVALID_ARG_VALUE', `'a\\x00b'`],
]
const NOT_A_SIGNAL: readonly Row[] = [
  ['SIGTERM', 'ERR_INVALID_ARG_TYPE', `type string ('SIGTERM')`],
  [new AbortController(), 'ERR_INVALID_ARG_TYPE', 'an instance of AbortController'],
]
const NOT_AN_OBJECT: readonly Row[] = [
  [null, 'ERR_INVALID_ARG_TYPE', 'null'],
  [5, 'ERR_INVALID_ARG_TYPE', 'type number (5)'],
  ['text', 'ERR_INVALID_ARG_TYPE', `type string ('text')`],
  [[], 'ERR_INVALID_ARG_TYPE', 'an instance of Array'],
]

/** Tests a call with each invalid value of a table; `name` is the name that the message must have. */
function rejects(
  call: string,
  name: string,
  rows: readonly Row[],
  attempt: (server: Server, value: unknown) => unknown,
): void {
  test(`${call} refuses invalid values of ${name} with an error that has the name and the value`, async (t) => {
    const server = startServer(t)
    for (const [value, code, quoted] of rows) {
      const error = await t.throwsAsync(async () => void (await attempt(server, value)), undefined, quoted)
      t.like(error, { code }, quoted)
      t.true(error instanceof CLASSES[code], quoted)
      t.true(error?.message.includes(`"${name}"`), error?.message)
      t.true(error?.message.endsWith(`Received ${quoted}`), error?.message)
    }
    t.deepEqual(server.addresses(), [])
    t.is(server.listenerCount('error'), 0)
  })
}

const make = (key: string) => (_server: Server, value: unknown) =>
  Reflect.apply(createServer, undefined, [{ [key]: value }])
const listen = (key: string, rest: object) => (server: Server, value: unknown) =>
  Reflect.apply(server.listen, server, [{ ...rest, [key]: value }])
const fork = (key: string) => (server: Server, value: unknown) =>
  Reflect.apply(server.fork, server, [fixture('describe-connection'), { [key]: value }])

rejects('createServer()', 'options', NOT_AN_OBJECT, (_server, value) => Reflect.apply(createServer, undefined, [value]))
rejects(
  'createServer()',
  'options.maxQueue',
  [...NOT_A_NUMBER, [0, 'ERR_OUT_OF_RANGE', '0'], tooLarge(2 ** 32)],
  make('maxQueue'),
)
rejects('createServer()', 'options.queueTimeout', [...NOT_A_NUMBER, tooLarge(2 ** 32)], make('queueTimeout'))
rejects('createServer()', 'options.killTimeout', [...NOT_A_NUMBER, tooLarge(2 ** 31)], make('killTimeout'))
rejects(
  'createServer()',
  'options.policy',
  [
    ['random', 'ERR_INVALID_ARG_VALUE', `'random'`],
    [1, 'ERR_INVALID_ARG_TYPE', 'type number (1)'],
    [null, 'ERR_INVALID_ARG_TYPE', 'null'],
  ],
  make('policy'),
)
rejects('listen()', 'options.port', NOT_A_PORT, listen('port', {}))
rejects('listen()', 'port', NOT_A_PORT.slice(5), (server, value) => Reflect.apply(server.listen, server, [value]))
rejects('listen()', 'options.host', NOT_A_PATH.slice(0, 1), listen('host', { port: 0 }))
rejects('listen()', 'host', NOT_A_PATH.slice(0, 1), (server, value) => Reflect.apply(server.listen, server, [0, value]))
rejects('listen()', 'options.backlog', [...NOT_A_NUMBER, tooLarge(2 ** 31)], listen('backlog', { port: 0 }))
rejects('listen()', 'options.ipv6Only', NOT_A_BOOLEAN, listen('ipv6Only', { port: 0, host: '::1' }))
rejects('listen()', 'options.path', NOT_A_PATH, listen('path', {}))
rejects('listen()', 'path', NOT_A_PATH.slice(1), (server, value) => Reflect.apply(server.listen, server, [value]))
rejects('listen()', 'options.readableAll', NOT_A_BOOLEAN, listen('readableAll', { path: '/nowhere' }))
rejects('listen()', 'options.writableAll', NOT_A_BOOLEAN, listen('writableAll', { path: '/nowhere' }))
rejects('listen()', 'options.fd', [...NOT_A_NUMBER, tooLarge(2 ** 31)], listen('fd', {}))
rejects('listen()', 'options.signal', NOT_A_SIGNAL, listen('signal', { port: 0 }))
rejects('fork()', 'options.workers', [...NOT_A_NUMBER, tooLarge(65536)], fork('workers'))
rejects('fork()', 'options.args', [['a b', 'ERR_INVALID_ARG_TYPE', `type string ('a b')`]], fork('args'))
rejects('fork()', 'options.args[1]', [[['a', 5], 'ERR_INVALID_ARG_TYPE', 'type number (5)']], fork('args'))
rejects('fork()', 'options.cwd', [[5, 'ERR_INVALID_ARG_TYPE', 'type number (5)']], fork('cwd'))
rejects('fork()', 'options.stdio', [['loud', 'ERR_INVALID_ARG_VALUE', `'loud'`]], fork('stdio'))
rejects(
  'fork()',
  'entry',
  [[undefined, 'ERR_INVALID_ARG_TYPE', 'undefined'], ...NOT_AN_OBJECT.slice(0, 2)],
  (server, value) => Reflect.apply(server.fork, server, [value]),
)
rejects('drain()', 'options.timeout', [...NOT_A_NUMBER, tooLarge(2 ** 31)], (server, value) =>
  Reflect.apply(server.drain, server, [{ timeout: value }]),
)
rejects('close()', 'options.timeout', [tooLarge(2 ** 31)], (server, value) =>
  Reflect.apply(server.close, server, [{ timeout: value }]),
)
rejects('resize()', 'size', [...NOT_A_NUMBER, tooLarge(65536)], (server, value) => {
  const { pool } = forkFixture(server, 'describe-connection', { workers: 0 })
  return Reflect.apply(pool.resize, pool, [value])
})

const share = (key: string) => (server: Server, value: unknown) =>
  Reflect.apply(server.share, server, ['/nowhere/ctl', { [key]: value }])

rejects('share()', 'path', [...NOT_A_PATH, ['\0', 'ERR_INVALID_ARG_VALUE', `'\\x00'`]], (server, value) =>
  Reflect.apply(server.share, server, [value]),
)
rejects('share()', 'options', NOT_AN_OBJECT, (server, value) =>
  Reflect.apply(server.share, server, ['/nowhere/ctl', value]),
)
rejects(
  'share()',
  'options.mode',
  [...NOT_A_NUMBER, tooLarge(0o1000), ['600', 'ERR_INVALID_ARG_TYPE', `type string ('600')`]],
  share('mode'),
)
rejects('share()', 'options.allow', NOT_AN_OBJECT, share('allow'))
rejects('share()', 'options.allow.uids', [[0, 'ERR_INVALID_ARG_TYPE', 'type number (0)']], (server, uids) =>
  share('allow')(server, { uids }),
)
rejects('share()', 'options.allow.gids[1]', [...NOT_A_NUMBER, tooLarge(2 ** 32 - 1)], (server, gid) =>
  share('allow')(server, { gids: [0, gid] }),
)
rejects(
  'share()',
  'options.maxWorkers',
  [...NOT_A_NUMBER, [0, 'ERR_OUT_OF_RANGE', '0'], tooLarge(65536)],
  share('maxWorkers'),
)
rejects('share()', 'options.helloTimeout', [...NOT_A_NUMBER, tooLarge(2 ** 31)], share('helloTimeout'))
rejects('share()', 'options.drainTimeout', [...NOT_A_NUMBER, tooLarge(2 ** 31)], share('drainTimeout'))

test('share() refuses a mode for an abstract name, which has no file', async (t) => {
  const server = startServer(t)
  const error = await t.throwsAsync(server.share('\0socketserver', { mode: 0o600 }), { instanceOf: TypeError })
  t.like(error, { code: 'ERR_INVALID_ARG_VALUE' })
  const isLinux = process.platform === 'linux'
  t.regex(error?.message ?? '', isLinux ? /^The "options.mode" property is only allowed with a path/ : /only Linux/)
})

test('listen() without port, path and fd names the missing options', async (t) => {
  const server = startServer(t)
  for (const options of [{}, { host: '127.0.0.1' }, { port: undefined }]) {
    const error = await t.throwsAsync(Promise.resolve(Reflect.apply(server.listen, server, [options])), {
      instanceOf: TypeError,
    })
    t.like(error, { code: 'ERR_INVALID_ARG_VALUE' })
    t.regex(error?.message ?? '', /^The "options" argument must have the property "port", "path" or "fd"\. Received \{/)
  }
})

function tooLarge(value: number): Row {
  return [value, 'ERR_OUT_OF_RANGE', `${value}`]
}
