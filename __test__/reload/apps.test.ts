// An Express application, a Fastify application and a WebSocket server lose no request when reloaded under load.

import test from 'ava'
import { WebSocket } from 'ws'
import { loadSerial } from '../helpers/conditional-test.js'
import { assertClean, loadUntil } from '../helpers/load.js'
import { serve } from '../helpers/served.js'

const RELOADS = Number(process.env['SOCKETSERVER_TEST_APP_RELOADS'] ?? 4)
for (const app of ['express', 'fastify']) {
  loadSerial(`${RELOADS} reloads of an ${app} application under load lose no request`, async (t) => {
    const { pool, port } = await serve(t, `app-${app}`, { workers: 2 })
    let isOver = false
    const load = loadUntil(t, port, { connections: 1000, clients: 16, body: 500 }, 'http', () => isOver)
    for (let i = 0; i < RELOADS; i++) await pool.reload()
    isOver = true
    const reports = await load
    for (const report of reports) assertClean(t, report)
    const workers = new Set(reports.flatMap((report) => Object.keys(report.workers)))
    t.true(workers.size >= RELOADS)
    t.log(`${reports.length * 1000} requests, answered by ${workers.size} workers`)
  })
}

/** Sends numbers and waits for each echo; reconnects when closed with 1012. Returns the number of echoes. */
async function converse(port: number, isOver: () => boolean, lost: string[]): Promise<number> {
  let echoes = 0
  while (!isOver()) {
    await new Promise<void>((resolve) => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}`)
      let asked = 0
      const next = (): void => {
        if (isOver()) socket.close()
        else if (socket.readyState === WebSocket.OPEN) socket.send(String(++asked))
      }
      socket.on('open', next)
      socket.on('message', (data) => {
        if (String(data) !== String(asked)) lost.push(`${asked}: ${String(data)}`)
        echoes += 1
        next()
      })
      socket.on('error', (error) => lost.push(error.message))
      socket.on('close', (code) => {
        if (code !== 1012 && !isOver()) lost.push(`closed with ${code}`)
        resolve()
      })
    })
  }
  return echoes
}

test.serial(
  `${RELOADS} reloads of a WebSocket server under load close every client with 1012 and lose no message`,
  async (t) => {
    const { pool, port } = await serve(t, 'app-ws', { workers: 2 })
    let isOver = false
    const lost: string[] = []
    const clients = Array.from({ length: 16 }, () => converse(port, () => isOver, lost))
    for (let i = 0; i < RELOADS; i++) await pool.reload()
    isOver = true
    const echoes = (await Promise.all(clients)).reduce((sum, count) => sum + count, 0)
    t.deepEqual(lost, [])
    t.true(echoes > RELOADS * 16, `${echoes} echoes`)
  },
)
