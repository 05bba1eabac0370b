// Who waits how long when each worker serves one connection at a time and most services are short, some long.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { columns, spreadOver } from '../harness/figures.mjs'
import { load } from '../harness/load.mjs'
import { hasReusePort, peers } from '../harness/peer.mjs'
import { simulate } from '../harness/queue.mjs'
import { percentile } from '../harness/statistics.mjs'
import { Unmeasured } from '../harness/unmeasured.mjs'

/** Milliseconds: 90 of 100 services take 10, the others 110; see `peers/service.mjs`. */
const MEAN_SERVICE = 20
const LOAD = 0.8
/** Milliseconds after which a connection that has no answer is a failure and not a long wait. */
const LONGEST = 30_000

/** @type {import('../harness/types.js').Case} */
export const tails = {
  name: 'tails',
  title: 'Tails: one connection at a time each, service 10 ms or (one in ten) 110 ms, 80 % load, Poisson arrivals',
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
    // The short run keeps to what the aims compare.
    ...(options.quick ? [] : [peers.shared, ...(hasReusePort(options) ? [peers.reusePort] : [])]),
    peers.processes,
  ]
  const ours = { subject: 'processes' }
  return {
    name: `${workers}-workers`,
    title: `${workers} workers`,
    subjects: compared.map((peer) => ({
      name: peer(wanted).name,
      label: peer(wanted).label,
      measure: (context) => served(context, peer, wanted, seconds),
    })),
    columns: [
      columns.p50,
      columns.p99,
      columns.p999,
      { figure: 'ideal', title: 'p99 of the ideal queue', unit: 'ms', digits: 1 },
      { figure: 'beyond', title: 'p99 / ideal', unit: '', digits: 2 },
      columns.spread,
    ],
    base: 'round-robin',
    ratios: [{ figure: 'p99', title: 'p99' }],
    targets: [
      { says: `p99 / that of the simulated M/G/${workers} queue`, figure: 'beyond', atMost: 1.15, ...ours },
      { says: 'p99, here / SCHED_RR', figure: 'p99', against: 'round-robin', by: 'ratio', atMost: 0.5, ...ours },
    ],
    chart: {
      figure: 'p99',
      title: `p99 of the time to the answer, ${workers} workers, milliseconds`,
      file: `tails-${workers}-workers`,
    },
  }
}

/**
 * @param {import('../harness/types.js').Context} context
 * @param {(wanted: import('../harness/peer.mjs').Wanted) => import('../harness/peer.mjs').Peer} peer
 * @param {import('../harness/peer.mjs').Wanted} wanted
 * @param {number} seconds
 */
async function served(context, peer, wanted, seconds) {
  const { workers } = wanted
  // The same customers for every peer of a round, others in the next.
  const seed = 1 + context.round
  const rate = (LOAD * workers * 1000) / MEAN_SERVICE
  const schedule = join(context.folder, 'arrivals')
  const server = await context.start(peer({ ...wanted, seed, records: context.folder }))
  const report = await server.during(
    load({
      mode: 'open',
      port: server.port,
      options: { rate, seconds, seed, timeout: LONGEST, 'save-arrivals': schedule },
      least: (rate * seconds) / 2,
    }),
  )
  // Its workers write down what their services took as they end.
  await server.stop()
  const arrivals = lines(schedule).map((line) => Number(line) / 1e6)
  const ideal = percentile(simulate(arrivals, services(context.folder, arrivals.length), workers), 99)
  const p99 = report.latency_us.p99 / 1000
  return {
    p50: report.latency_us.p50 / 1000,
    p99,
    p999: report.latency_us.p999 / 1000,
    ideal,
    beyond: p99 / ideal,
    spread: spreadOver(report.workers, workers),
  }
}

/**
 * What each service took, in milliseconds, by the number of its connection.
 *
 * @param {string} folder
 * @param {number} count
 */
function services(folder, count) {
  /** @type {number[]} */
  const found = []
  for (const name of readdirSync(folder).filter((name) => name.endsWith('.services'))) {
    for (const line of lines(join(folder, name))) {
      const [serial, elapsed] = line.split(' ')
      found[Number(serial)] = Number(elapsed)
    }
  }
  const known = found.filter(Number.isFinite).length
  if (known !== count) throw new Unmeasured(`the workers tell of ${known} services where there were ${count}`)
  return found
}

/** @param {string} path */
function lines(path) {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
}
