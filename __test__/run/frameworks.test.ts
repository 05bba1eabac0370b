// Unmodified apps of frameworks: all workers answer, and a reload under load loses no request.

import { join } from 'node:path'
import test from 'ava'
import { WebSocket } from 'ws'
import { fetchOnce } from '../helpers/http.js'
import { runApp } from '../helpers/run-app.js'
import { portOf, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'
import { writeApp } from '../helpers/write-app.js'

/** Returns code that requires a package of this repository in an app of another folder. */
const from = (name: string): string =>
  JSON.stringify(require.resolve(name, { paths: [join(__dirname, '..', '..', '..')] }))

/** Sends requests to an app during a reload until three workers have answered. Every request must succeed. */
async function requireAnswers(port: number, reload: () => Promise<unknown>): Promise<void> {
  const answers = new Set<string>()
  let isOver = false
  const load = Array.from({ length: 8 }, async () => {
    while (!isOver) {
      const { status, body } = await fetchOnce(port)
      if (status !== 200) throw new Error(`status ${status}`)
      answers.add(body)
    }
  })
  await Promise.race([until(() => answers.size > 0), Promise.all(load)])
  await reload()
  // One of the two old workers, and both new workers.
  await Promise.race([until(() => answers.size >= 3), Promise.all(load)])
  isOver = true
  await Promise.all(load)
}

const APPS = {
  express: `
    const app = require(${from('express')})()
    app.get('/', (_request, response) => response.send(String(process.pid)))
    app.listen(process.env.PORT)`,
  fastify: `
    const app = require(${from('fastify')})()
    app.get('/', async () => String(process.pid))
    app.listen({ port: Number(process.env.PORT), host: '0.0.0.0' })`,
  nest: `
    const { Module, Controller, Get } = require(${from('@nestjs/common')})
    const { NestFactory } = require(${from('@nestjs/core')})
    class AppController { pid() { return String(process.pid) } }
    Get()(AppController.prototype, 'pid', Object.getOwnPropertyDescriptor(AppController.prototype, 'pid'))
    Controller()(AppController)
    class AppModule {}
    Module({ controllers: [AppController] })(AppModule)
    NestFactory.create(AppModule, { logger: false }).then((app) => {
      app.enableShutdownHooks()
      return app.listen(process.env.PORT)
    })`,
}

for (const [name, source] of Object.entries(APPS)) {
  test(`${name}: runs in threads, and a reload under load loses no request`, async (t) => {
    const server = startServer(t)
    const withThread = source.replaceAll('String(process.pid)', "String(require('node:worker_threads').threadId)")
    const app = writeApp(t, withThread)
    const pool = server.run(app, { threads: true, workers: 2, port: 0, execArgv: [] })
    await pool.ready
    await t.notThrowsAsync(requireAnswers(portOf(server.addresses()[0]), async () => await pool.reload()))
  })

  test(`${name}: every worker answers, and a reload under load loses no request`, async (t) => {
    const { pool, port } = await runApp(t, writeApp(t, source), { port: 0 })
    await t.notThrowsAsync(requireAnswers(port, async () => await pool.reload()))
  })
}

test('ws: messages are exchanged, and the reload closes the WebSocket after the sent messages', async (t) => {
  const app = writeApp(
    t,
    `const { WebSocketServer } = require(${from('ws')})
     new WebSocketServer({ port: Number(process.env.PORT) }).on('connection', (socket) => {
       socket.on('message', (message) => socket.send(process.pid + ' ' + message))
     })`,
  )
  const { pool, port } = await runApp(t, app, { port: 0, drainTimeout: 500 })
  const ask = async (socket: WebSocket): Promise<string> => {
    const answered = new Promise<string>((resolve) => socket.once('message', (data) => resolve(String(data))))
    socket.send('hello')
    return await within(answered, 'a message')
  }
  const open = async (): Promise<WebSocket> => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}`)
    await within(new Promise((resolve) => socket.once('open', resolve)), 'a WebSocket')
    return socket
  }
  const socket = await open()
  const closed = new Promise((resolve) => socket.once('close', resolve))
  t.regex(await ask(socket), /^\d+ hello$/)
  await pool.reload()
  await within(closed, 'the end of the WebSocket')
  const next = await open()
  t.regex(await ask(next), /^\d+ hello$/)
  next.terminate()
})
