// How notices of the native side become events and errors.

import test from 'ava'
import { library } from '../helpers/library.js'

const { readNotice } = library('server/notices')

test('a panic of the native thread is reported as an error and then closes the server', (t) => {
  const calls: string[] = []
  readNotice(
    { kind: 'failed', message: 'index out of bounds' },
    {
      failed: ({ code, message }) => {
        calls.push('failed')
        t.is(code, 'ERR_SOCKETSERVER_INTERNAL')
        t.regex(message, /index out of bounds/)
      },
      broken: () => calls.push('broken'),
      worker: () => undefined,
      admitted: () => t.fail(),
      refused: () => t.fail(),
      joined: () => t.fail(),
      cut: () => t.fail(),
      shed: () => t.fail(),
      failedAgain: () => t.fail(),
      listening: () => t.fail(),
      listeningEnded: () => t.fail(),
      drained: () => t.fail(),
      metricsAsked: () => t.fail(),
    },
  )
  t.deepEqual(calls, ['failed', 'broken'])
})
