// When a worker of an app becomes ready, and how the worker ends.

import { writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { fetchOnce } from '../helpers/http.js'
import { runApp, startApp } from '../helpers/run-app.js'
import { within } from '../helpers/within.js'
import { writeApp } from '../helpers/write-app.js'

const LISTEN = "require('node:http').createServer((_, response) => response.end(String(process.pid))).listen(0)\n"

for (const [ready, silent, missing] of [
  ['listen', 'setInterval(() => {}, 1000)', /it has not listened/],
  ['message', LISTEN, /it has not sent the message 'ready'/],
] as const) {
  test(`a release that is not ready in time (${ready}) fails the reload, and the old release continues to serve`, async (t) => {
    const app = writeApp(t, `${LISTEN}process.send('ready')`)
    const { pool, port } = await runApp(t, app, { workers: 1, ready, readyTimeout: 10_000 })
    writeFileSync(app, silent)
    await t.throwsAsync(pool.reload(), { code: 'ERR_SOCKETSERVER_READY_TIMEOUT', message: missing })
    t.is((await fetchOnce(port)).body, String(pool.workers.find(({ state }) => state === 'ready')?.pid))
  })
}

test('a SIGTERM handler that exits at once cuts no response', async (t) => {
  const app = writeApp(
    t,
    `process.on('SIGTERM', () => process.exit(0))
     require('node:http').createServer((_, response) => {
       process.send({ event: 'asked' })
       setTimeout(() => response.end('whole'), 700)
     }).listen(0)`,
  )
  const { server, pool, reports, port } = await runApp(t, app, { workers: 1 })
  const answer = fetchOnce(port)
  await reports.next('asked')
  await pool.reload()
  t.is((await answer).body, 'whole')
  t.is(server.stats().cut, 0)
})

test('the app’s own SIGTERM handler runs after the drain, and a worker that ignores SIGTERM is killed', async (t) => {
  const app = writeApp(
    t,
    `process.on('SIGTERM', () => process.send({ event: 'sigterm' }))
     ${LISTEN}setInterval(() => {}, 1000)`,
  )
  const { pool, reports } = await runApp(t, app, { workers: 1, killTimeout: 3000 })
  const [worker] = pool.workers
  const exited = new Promise((resolve) => worker?.process?.once('exit', (_code, signal) => resolve(signal)))
  await pool.close()
  await reports.next('sigterm')
  t.is(await within(exited, 'the exit of the worker'), 'SIGKILL')
})

for (const [what, handler] of [
  ['with', "process.on('SIGTERM', () => process.exit(0))"],
  ['without', ''],
] as const) {
  test(`an app ${what} a SIGTERM handler ends at once if it has not listened yet`, async (t) => {
    const app = writeApp(t, `${handler}; setInterval(() => {}, 1000); process.send({ event: 'started' })`)
    const { pool, reports } = startApp(t, app, { workers: 1, killTimeout: 60_000 })
    pool.ready.catch(() => {})
    await reports.next('started')
    const [worker] = pool.workers
    const exited = new Promise((resolve) => worker?.process?.once('exit', (code, signal) => resolve(code ?? signal)))
    await pool.close()
    t.is(await exited, handler === '' ? 'SIGTERM' : 0)
  })
}

test('an app without a SIGTERM handler ends although it has timers', async (t) => {
  const { pool } = await runApp(t, writeApp(t, `${LISTEN}setInterval(() => {}, 1000)`), { killTimeout: 60_000 })
  await within(Promise.race([pool.close(), sleep(20_000).then(() => t.fail())]), 'the end of the pool', 25_000)
  t.is(pool.workers.length, 0)
})
