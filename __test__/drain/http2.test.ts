import { once } from 'node:events'
import { connect } from 'node:http2'
import { text } from 'node:stream/consumers'
import test from 'ava'
import { serve } from '../helpers/served.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'

test('an HTTP/2 session gets GOAWAY and its open streams are answered', async (t) => {
  const { pool, port, reports } = await serve(t, 'drain-http2')
  const [worker] = pool.workers
  const session = connect(`http://127.0.0.1:${port}`)
  t.teardown(() => session.destroy())
  let goaway = 0
  session.on('goaway', () => {
    goaway += 1
  })
  const [slow, quick] = [session.request({ ':path': '/slow' }), session.request({ ':path': '/quick' })]
  t.is(await within(text(quick), 'the quick answer'), 'quick')
  await until(() => reports.count('request') === 2)
  const closed = once(session, 'close')
  const retired = pool.resize(0)
  await until(() => goaway > 0)
  worker?.process.send('answer')
  t.is(await within(text(slow), 'the slow answer'), 'answered')
  await within(closed, 'the end of the session')
  await retired
})
