// What the native side reports becomes an event or an error.

import test from 'ava'
import { library } from '../helpers/library.js'

const { readNotice } = library('server/notices')

test('a panic of the thread that accepts is reported as an error, and then closes the server', (t) => {
  const calls: [string, ...unknown[]][] = []
  const record =
    (name: string) =>
    (...args: unknown[]): undefined => {
      calls.push([name, ...args])
    }
  const reader = new Proxy(Object.create(null), { get: (_target, name) => record(String(name)) })
  Reflect.apply(readNotice, undefined, [{ kind: 'failed', message: 'index out of bounds' }, reader])
  t.deepEqual(
    calls.map(([name]) => name),
    ['failed', 'broken'],
  )
  t.like(calls[0]?.[1], { code: 'ERR_SOCKETSERVER_INTERNAL' })
  t.regex(String(Reflect.get(Object(calls[0]?.[1]), 'message')), /index out of bounds/)
})
