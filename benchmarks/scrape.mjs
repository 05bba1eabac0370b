// Measures the CPU time that a request to the admin listener costs the parent of 64 workers under load.
//
//     node benchmarks/scrape.mjs [--node PATH]
//
// Intervals with and without requests take turns under the same load. The cost of a request is the difference of the parent's CPU
// time between an interval and the one before, divided by the number of requests.

import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as wait } from 'node:timers/promises'
import { markdownTable } from 'markdown-table'
import { Failed, main } from '../scripts/steps.mjs'
import { load } from './harness/load.mjs'
import { parseOptions } from './harness/options.mjs'
import { PeerProcess } from './harness/peer-process.mjs'
import { peers } from './harness/peers.mjs'
import { usage } from './harness/processes.mjs'

const WORKERS = 64
const PATHS = ['/metrics', '/status.json']
/** Pairs of intervals for each path. */
const ROUNDS = 15
/** Milliseconds of an interval. */
const INTERVAL = 1000
/** Requests in an interval, in equal distances. */
const REQUESTS = 20
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
    const seconds = (PATHS.length * ROUNDS * 2 * INTERVAL) / 1000 + 5
    const loaded = load({ mode: 'open', port, least: 1, options: { rate: RATE, seconds, seed: 1 } })
    loaded.catch(() => {})
    const rows = []
    for (const path of PATHS) {
      /** @type {number[]} */
      const costs = []
      for (let round = 0; round < ROUNDS; round++) {
        const without = await server.during(interval(server.pid, () => wait(INTERVAL)))
        const scraped = await server.during(interval(server.pid, () => ask(admin, path)))
        costs.push((scraped - without) / REQUESTS / 1000)
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
 * Returns the CPU time of a process during an action, in microseconds per {@link INTERVAL}.
 *
 * @param {number} pid
 * @param {() => Promise<unknown>} action
 */
async function interval(pid, action) {
  const [began, before] = [performance.now(), usage(pid).get(pid)?.cpu ?? 0]
  await action()
  const [ended, after] = [performance.now(), usage(pid).get(pid)?.cpu ?? 0]
  return ((after - before) * INTERVAL) / (ended - began)
}

/**
 * Sends {@link REQUESTS} requests in an {@link INTERVAL}.
 *
 * @param {string} socketPath
 * @param {string} path
 */
async function ask(socketPath, path) {
  for (let count = 0; count < REQUESTS; count++) {
    const pause = wait(INTERVAL / REQUESTS)
    const sent = request({ socketPath, path, agent: false }).end()
    const [response] = await once(sent, 'response')
    response.resume()
    await once(response, 'end')
    if (response.statusCode !== 200) throw new Failed(`${path} answers ${response.statusCode}.`)
    await pause
  }
}

await main(() => scrapes(process.argv.slice(2)))
