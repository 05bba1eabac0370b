import { once } from 'node:events'
import { connect } from 'node:http2'
import { text } from 'node:stream/consumers'
import test from 'ava'
import { delayedRelay } from '../helpers/delayed-relay.js'
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

test('a request that crosses GOAWAY is refused, so that the client may send it again', async (t) => {
  const { pool, port } = await serve(t, 'drain-http2')
  const relay = await delayedRelay(t, port)
  const session = connect(`http://127.0.0.1:${relay.port}`)
  t.teardown(() => session.destroy())
  session.on('error', () => {})
  t.is(await within(text(session.request({ ':path': '/quick' })), 'the first answer'), 'quick')
  const goaway = once(session, 'goaway')
  relay.hold()
  const late = session.request({ ':path': '/quick' })
  const retired = pool.resize(0)
  await within(goaway, 'GOAWAY')
  relay.release()
  await t.throwsAsync(within(text(late), 'the refusal'), { code: 'ERR_HTTP2_STREAM_ERROR', message: /REFUSED_STREAM/ })
  await retired
})
