// Measures waiting times when each worker serves one connection at a time, and one in ten services is long.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { quantile } from 'simple-statistics'
import { load } from '../harness/load.mjs'
import { MeasurementError } from '../harness/measurement-error.mjs'
import { columns, spreadOver } from '../harness/metrics.mjs'
import { hasReusePort, peers } from '../harness/peers.mjs'
import { simulate } from '../harness/queue.mjs'

/** Milliseconds: nine of ten services take 10, the others 110; see `peers/service.mjs`. */
const MEAN_SERVICE = 20
const LOAD = 0.8
/** Milliseconds after which a connection without an answer is a failure. */
const TIMEOUT = 30_000

/** @type {import('../harness/types.js').Case} */
export const tails = {
  name: 'tails',
  title:
    'Tail latency: one connection at a time per worker, service 10 ms or (one in ten) 110 ms, 80 % load, Poisson arrivals',
  groups: (options) => [group(options, 4, options.quick ? 3 : 12), group(options, 16, options.quick ? 2 : 8)],
}

/**
 * @param {import('../harness/options.mjs').Options} options
 * @param {number} workers
 * @param {number} seconds
 * @returns {import('../harness/types.js').Group}
 */
function group(options, workers, seconds) {
  const wanted = { behaviour: /** @type {const} */ ('service'), workers, oneAtATime: true }
  const compared = [
    peers.roundRobin,
    // A quick run has only the peers that the targets need.
    ...(options.quick ? [] : [peers.shared, ...(hasReusePort(options) ? [peers.reusePort] : [])]),
    peers.processes,
  ]
  const subject = 'processes'
  return {
    name: `${workers}-workers`,
    title: `${workers} workers`,
    subjects: compared.map((peer) => ({
      name: peer(wanted).name,
      label: peer(wanted).label,
      measure: (context) => measureServices(context, peer, wanted, seconds),
    })),
    columns: [
      columns.p50,
      columns.p99,
      columns.p999,
      { metric: 'ideal', title: 'p99 of the simulated queue', unit: 'ms', digits: 1 },
      { metric: 'overIdeal', title: 'p99 / simulated', unit: '', digits: 2 },
      columns.spread,
    ],
    baseline: 'round-robin',
    ratios: [{ metric: 'p99', title: 'p99' }],
    targets: [
      { description: `p99 / p99 of the simulated M/G/${workers} queue`, metric: 'overIdeal', atMost: 1.15, subject },
      {
        description: 'p99, socketserver / SCHED_RR',
        metric: 'p99',
        baseline: 'round-robin',
        comparison: 'ratio',
        atMost: 0.5,
        subject,
      },
    ],
    chart: {
      metric: 'p99',
      title: `p99 of the time from arrival to answer, ${workers} workers, milliseconds`,
      file: `tails-${workers}-workers`,
    },
  }
}

/**
 * @param {import('../harness/types.js').Context} context
 * @param {(wanted: import('../harness/peers.mjs').Wanted) => import('../harness/peers.mjs').Peer} peer
 * @param {import('../harness/peers.mjs').Wanted} wanted
 * @param {number} seconds
 */
async function measureServices(context, peer, wanted, seconds) {
  const { workers } = wanted
  // All peers of a round get the same arrivals and services; each round has its own.
  const seed = 1 + context.round
  const rate = (LOAD * workers * 1000) / MEAN_SERVICE
  const schedule = join(context.folder, 'arrivals')
  const server = await context.start(peer({ ...wanted, seed, records: context.folder }))
  const report = await server.during(
    load({
      mode: 'open',
      port: server.port,
      options: { rate, seconds, seed, timeout: TIMEOUT, 'save-arrivals': schedule },
      least: (rate * seconds) / 2,
    }),
  )
  // The workers write their service times to files when they exit.
  await server.stop()
  const arrivals = lines(schedule).map((line) => Number(line) / 1e6)
  const ideal = quantile(simulate(arrivals, readServices(context.folder, arrivals.length), workers), 0.99)
  const p99 = report.latency_us.p99 / 1000
  return {
    p50: report.latency_us.p50 / 1000,
    p99,
    p999: report.latency_us.p999 / 1000,
    ideal,
    overIdeal: p99 / ideal,
    spread: spreadOver(report.workers, workers),
  }
}

/**
 * Returns the time of each service in milliseconds, by the number of the connection.
 *
 * @param {string} folder
 * @param {number} count
 */
function readServices(folder, count) {
  /** @type {number[]} */
  const found = []
  for (const name of readdirSync(folder).filter((name) => name.endsWith('.services'))) {
    for (const line of lines(join(folder, name))) {
      const [serial, elapsed] = line.split(' ')
      found[Number(serial)] = Number(elapsed)
    }
  }
  const known = found.filter(Number.isFinite).length
  if (known !== count) throw new MeasurementError(`the workers recorded ${known} services instead of ${count}`)
  return found
}

/** @param {string} path */
function lines(path) {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
}
