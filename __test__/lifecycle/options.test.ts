import { availableParallelism } from 'node:os'
import test from 'ava'
import fc from 'fast-check'
import { library } from '../helpers/library.js'

const { parseListenTarget } = library('server/listen/listen-target')
const { parsePoolOptions } = library('server/pool/pool-options')
const { parseDrainOptions, parseServerOptions } = library('server/server-options')

test('a server without options has the documented defaults', (t) => {
  t.deepEqual(parseServerOptions({}), {
    maxQueue: 1024,
    queueTimeoutMs: 0,
    policy: 'least-busy',
    killTimeout: 5000,
    closeTimeout: 7000,
    drainDelay: 0,
    signals: false,
  })
  t.deepEqual(
    parseServerOptions({ maxQueue: undefined, queueTimeout: undefined, policy: undefined }),
    parseServerOptions({}),
  )
  t.is(parseDrainOptions({}), 10_000)
  t.is(parseDrainOptions({ timeout: 0 }), 0)
})

test('a listener without further options has the defaults of net', (t) => {
  const none = { routing: undefined, signal: undefined }
  const port = { kind: 'port', port: 80, host: undefined, ipv6Only: false, backlog: 511, ...none }
  t.deepEqual(parseListenTarget(80, undefined), port)
  t.deepEqual(parseListenTarget('80', undefined), port)
  t.deepEqual(parseListenTarget({ port: '80' }, undefined), port)
  t.deepEqual(parseListenTarget(80, '::1'), { ...port, host: '::1' })
  const path = { kind: 'path', path: '/a', readableAll: false, writableAll: false, backlog: 511, ...none }
  t.deepEqual(parseListenTarget('/a', undefined), path)
  t.deepEqual(parseListenTarget({ path: '/a' }, undefined), path)
  t.deepEqual(parseListenTarget({ fd: 3 }, undefined), { kind: 'fd', fd: 3, descriptor: undefined, ...none })
})

test('a descriptor takes precedence over a port, and a port over a path, as in net', (t) => {
  t.is(parseListenTarget({ fd: 3, port: 80, path: '/a' }, undefined).kind, 'fd')
  t.is(parseListenTarget({ port: 80, path: '/a' }, undefined).kind, 'port')
})

test('every string is either a port or a path', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^\s*\d{1,4}\s*$/)), (text) => {
      const isPort = /^\s*[0-9]+\s*$/.test(text)
      try {
        t.is(parseListenTarget(text, undefined).kind, isPort ? 'port' : 'path')
      } catch (error) {
        t.true(isPort ? Number(text) > 65535 : text === '' || text.includes('\0'), String(error))
      }
    }),
  )
})

const NO_OTHER_OPTIONS = { known: [] }

test("a pool without options has one worker per available CPU, the documented defaults and the server's killTimeout", (t) => {
  const { workers, settings, rest } = parsePoolOptions({}, 1234, NO_OTHER_OPTIONS)
  t.is(workers, availableParallelism())
  t.like(settings, {
    isReadyManual: false,
    readyTimeout: 30_000,
    drainTimeout: 30_000,
    killTimeout: 1234,
    stallTimeout: 0,
  })
  t.deepEqual(rest, {})
  t.is(parsePoolOptions({ killTimeout: 5 }, 1234, NO_OTHER_OPTIONS).settings.killTimeout, 5)
})

test('options that are not of the pool are left for the start of its workers', (t) => {
  const { rest } = parsePoolOptions(Object.assign({ workers: 1, restart: false }, { cwd: '/', env: {} }), 0, {
    known: ['cwd', 'env'],
  })
  t.deepEqual(rest, Object.assign({}, { cwd: '/', env: {} }))
})
