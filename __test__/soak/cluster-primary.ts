// Node's cluster under the same disturbances. A worker is replaced as its documentation recommends: a new one is forked, and when
// it listens the old one is disconnected, which closes its servers and lets it exit after its last connection.

import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '../helpers/free-port.js'
import { readHoldings, workerName } from './held-connections.js'
import type { Kill } from './verdict.js'

const directory = process.env['SOAK_NOTES'] ?? '.'
let isOver = false
let port = 0
let size = 4
const serving = new Set<Worker>()
const done = { reloads: 0, failedReloads: 0, resizes: 0 }
const kills: (Omit<Kill, 'ports'> & { ports: number[] })[] = []

/** Not `events.once`, which rejects on `error`: a message to a worker that has just been killed emits one. */
function happens(worker: Worker, event: 'exit' | 'listening'): Promise<void> {
  return new Promise((resolve) => {
    worker.once(event, () => resolve())
  })
}

async function start(): Promise<void> {
  const worker = cluster.fork({ SOAK_PORT: String(port) })
  // An error event without a listener would end this process.
  worker.on('error', () => {})
  worker.once('exit', () => {
    // A killed worker is replaced; a disconnected one has been replaced already.
    if (serving.delete(worker) && !isOver) void start()
  })
  await Promise.race([happens(worker, 'listening'), happens(worker, 'exit')])
  if (!worker.isDead()) serving.add(worker)
}

async function leave(worker: Worker): Promise<void> {
  if (!serving.delete(worker)) return
  const gone = happens(worker, 'exit')
  if (worker.isConnected()) worker.disconnect()
  await gone
}

async function reload(): Promise<void> {
  while (!isOver) {
    const old = [...serving]
    await Promise.all(old.map(start))
    while (old.length > 0) await Promise.all(old.splice(0, 2).map(leave))
    done.reloads += 1
  }
}

async function resize(): Promise<void> {
  while (!isOver) {
    size = size === 6 ? 3 : 6
    const missing = size - serving.size
    await Promise.all(Array.from({ length: Math.max(0, missing) }, start))
    if (missing < 0) await Promise.all([...serving].slice(missing).map(leave))
    done.resizes += 1
    await delay(10)
  }
}

async function kill(): Promise<void> {
  for (;;) {
    await delay(100 + Math.random() * 400)
    if (isOver || process.env['SOAK_KILLS'] === 'no') return
    const ready = [...serving]
    const victim = ready[Math.floor(Math.random() * ready.length)]
    if (victim === undefined || ready.length < 2) continue
    const from = Date.now()
    const gone = happens(victim, 'exit')
    victim.process.kill('SIGKILL')
    await gone
    const worker = workerName({ pid: victim.process.pid })
    const { ports, isLastOver } = readHoldings(directory, worker)
    kills.push({ worker, from, until: Date.now(), cut: undefined, ports: [...ports], isLastOver })
  }
}

async function main(): Promise<void> {
  cluster.setupPrimary({ exec: join(__dirname, 'worker.js') })
  // With port 0, later workers would listen on another port.
  port = await freePort()
  await Promise.all(Array.from({ length: size }, start))
  process.send?.(port)
  const stopped = Promise.all([reload(), resize(), kill()])
  await once(process, 'message')
  isOver = true
  await stopped
  process.send?.({ ...done, kills })
  for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill('SIGKILL')
  process.disconnect()
}

void main()
