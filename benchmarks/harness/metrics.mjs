// The metrics of a peer under load, and the table columns that show them.

import { hold, load } from './load.mjs'
import { cpuBetween, memory, usage } from './processes.mjs'

/** @type {Record<'rate' | 'requests' | 'cpu' | 'parent' | 'p50' | 'p99' | 'p999' | 'spread' | 'memory', import('./types.js').Column>} */
export const columns = {
  rate: { metric: 'rate', title: 'conn/s', unit: '', digits: 0 },
  requests: { metric: 'rate', title: 'requests/s', unit: '', digits: 0 },
  cpu: { metric: 'cpu', title: 'CPU each', unit: 'us', digits: 1 },
  parent: { metric: 'parent', title: 'CPU each, parent', unit: 'us', digits: 1 },
  p50: { metric: 'p50', title: 'p50', unit: 'ms', digits: 3 },
  p99: { metric: 'p99', title: 'p99', unit: 'ms', digits: 3 },
  p999: { metric: 'p999', title: 'p99.9', unit: 'ms', digits: 3 },
  spread: { metric: 'spread', title: 'max/min of workers', unit: '', digits: 3 },
  memory: { metric: 'memory', title: 'RSS', unit: 'MB', digits: 0 },
}

export const connectionColumns = [
  columns.rate,
  columns.cpu,
  columns.parent,
  columns.p50,
  columns.p99,
  columns.p999,
  columns.spread,
  columns.memory,
]

/**
 * @typedef {object} Load
 * @property {'closed' | 'open' | 'http'} mode
 * @property {Record<string, string | number>} options of the load generator
 * @property {Record<string, string | number>} [warmUp] options that differ in the warm-up; without it, there is no warm-up
 * @property {number} [held] idle connections that stay open during the measurement
 * @property {number} [least] correct answers that a valid measurement needs [100]
 */

/**
 * Starts a peer, warms it up, and measures it under load.
 *
 * @param {import('./types.js').Context} context
 * @param {import('./peers.mjs').Peer} peer
 * @param {Load} wanted
 */
export async function measureUnderLoad(context, peer, { mode, options, warmUp, held = 0, least = LEAST }) {
  const server = await context.start(peer)
  const { port } = server
  const idle = held === 0 ? undefined : await server.during(holdIdle(port, held))
  if (warmUp !== undefined) await server.during(load({ mode, port, options: { ...options, ...warmUp }, least: 1 }))
  const before = usage(server.pid)
  const report = await server.during(load({ mode, port, options, least }))
  const after = usage(server.pid)
  if (idle !== undefined) await server.during(idle.release())
  const cpu = cpuBetween(server.pid, before, after)
  return {
    rate: report.connections_per_second,
    cpu: cpu.all / report.total,
    // The threads of one process share its CPU time, so the parent's is not known.
    parent: after.size > 1 ? cpu.parent / report.total : Number.NaN,
    p50: report.latency_us.p50 / 1000,
    p99: report.latency_us.p99 / 1000,
    p999: report.latency_us.p999 / 1000,
    spread: spreadOver(report.workers, peer.workers),
    memory: memory(server.pid, after).all / 1e6,
  }
}

/**
 * Returns the busiest worker's answers divided by the least busy worker's; infinite if a worker gave no answer.
 *
 * @param {Record<string, number>} answers by worker name
 * @param {number} workers number of workers
 */
export function spreadOver(answers, workers) {
  const counts = Object.values(answers)
  const least = counts.length < workers ? 0 : Math.min(...counts)
  return workers === 1 ? Number.NaN : Math.max(...counts) / least
}

/**
 * @param {number} port
 * @param {number} connections
 */
async function holdIdle(port, connections) {
  return await hold({ port, options: { connections, rate: HOLD_RATE }, least: connections })
}

const LEAST = 100
/** Connections per second, low enough that none of them waits. */
const HOLD_RATE = 2000
