// Measures the CPU time that a request to the admin listener costs the parent of 64 workers under load. Needs Linux.
//
//     node benchmarks/scrape.mjs [--node PATH]
//
// The parent answers on the thread of the admin listener, which does nothing else. So the difference of this thread's CPU time,
// divided by the number of requests, is the cost of a request, and other programs on the machine hardly change it.

import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { markdownTable } from 'markdown-table'
import { Failed, main } from '../scripts/steps.mjs'
import { load } from './harness/load.mjs'
import { parseOptions } from './harness/options.mjs'
import { PeerProcess } from './harness/peer-process.mjs'
import { peers } from './harness/peers.mjs'

const WORKERS = 64
const PATHS = ['/metrics', '/status.json']
/** Rounds for each path. */
const ROUNDS = 15
/** Requests in a round. */
const REQUESTS = 20
/** Milliseconds between two requests. */
const PAUSE = 50
/** The name of the thread of the admin listener, of which Linux keeps 15 bytes. */
const THREAD = 'socketserver-adm'.slice(0, 15)
/** Connections per second. */
const RATE = 1000
/** Connections to each worker before the measurement, because the first connections of a worker cost more. */
const WARM_UP = 200

/** @param {readonly string[]} args */
async function scrapes(args) {
  const options = parseOptions(args, [])
  if (options === undefined) throw new Failed('Usage: node benchmarks/scrape.mjs [--node PATH]')
  const folder = mkdtempSync(join(tmpdir(), 'socketserver-scrape-'))
  const admin = join(folder, 'admin.sock')
  const server = await PeerProcess.start(peers.processes({ behaviour: 'short', workers: WORKERS, admin }), options)
  try {
    const { port } = server
    const connections = WARM_UP * WORKERS
    await server.during(load({ mode: 'closed', port, least: connections, options: { clients: 64, connections } }))
    const seconds = (PATHS.length * ROUNDS * REQUESTS * PAUSE) / 1000 + 20
    const loaded = load({ mode: 'open', port, least: 1, options: { rate: RATE, seconds, seed: 1 } })
    loaded.catch(() => {})
    const rows = []
    for (const path of PATHS) {
      /** @type {number[]} */
      const costs = []
      for (let round = 0; round < ROUNDS; round++) {
        const before = threadTime(server.pid)
        await server.during(ask(admin, path))
        costs.push((threadTime(server.pid) - before) / REQUESTS / 1e6)
      }
      costs.sort((a, b) => a - b)
      const quantile = (/** @type {number} */ share) => (costs[Math.floor(share * (ROUNDS - 1))] ?? 0).toFixed(2)
      rows.push([path, quantile(0.5), quantile(0.25), quantile(0.75)])
    }
    await server.during(loaded)
    console.log(`\nNode ${options.version}, ${WORKERS} workers, ${RATE} connections per second, ${ROUNDS} rounds\n`)
    const head = ['CPU time of the parent for each request', 'median, ms', 'lower quartile', 'upper quartile']
    console.log(markdownTable([head, ...rows], { align: ['l', 'r', 'r', 'r'] }))
  } finally {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * Returns the CPU time of the thread of the admin listener, in nanoseconds.
 *
 * @param {number} pid
 */
function threadTime(pid) {
  const folder = `/proc/${pid}/task`
  const thread = readdirSync(folder).find((id) => readFileSync(`${folder}/${id}/comm`, 'utf8').trim() === THREAD)
  if (thread === undefined) throw new Failed(`The parent has no thread ${THREAD}.`)
  return Number(readFileSync(`${folder}/${thread}/schedstat`, 'utf8').split(' ')[0])
}

/**
 * Sends {@link REQUESTS} requests, {@link PAUSE} apart.
 *
 * @param {string} socketPath
 * @param {string} path
 */
async function ask(socketPath, path) {
  for (let count = 0; count < REQUESTS; count++) {
    const pause = wait(PAUSE)
    const sent = request({ socketPath, path, agent: false }).end()
    const [response] = await once(sent, 'response')
    response.resume()
    await once(response, 'end')
    if (response.statusCode !== 200) throw new Failed(`${path} answers ${response.statusCode}.`)
    await pause
  }
}

await main(() => scrapes(process.argv.slice(2)))
