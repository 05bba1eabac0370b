// The figures that a load against a peer gives, and how each is shown.

import { hold, load } from './load.mjs'
import { cpuBetween, memory, use } from './processes.mjs'

/** @type {Record<'rate' | 'requests' | 'cpu' | 'parent' | 'p50' | 'p99' | 'p999' | 'spread' | 'memory', import('./types.js').Column>} */
export const columns = {
  rate: { figure: 'rate', title: 'conn/s', unit: '', digits: 0 },
  requests: { figure: 'rate', title: 'requests/s', unit: '', digits: 0 },
  cpu: { figure: 'cpu', title: 'CPU each', unit: 'us', digits: 1 },
  parent: { figure: 'parent', title: 'of that, parent', unit: 'us', digits: 1 },
  p50: { figure: 'p50', title: 'p50', unit: 'ms', digits: 3 },
  p99: { figure: 'p99', title: 'p99', unit: 'ms', digits: 3 },
  p999: { figure: 'p999', title: 'p99.9', unit: 'ms', digits: 3 },
  spread: { figure: 'spread', title: 'max/min of workers', unit: '', digits: 3 },
  memory: { figure: 'memory', title: 'RSS', unit: 'MB', digits: 0 },
}

/** All that a load says of a server. */
export const everyColumn = ['rate', 'cpu', 'parent', 'p50', 'p99', 'p999', 'spread', 'memory'].map((name) => {
  const found = Object.values(columns).find(({ figure }) => figure === name)
  if (found === undefined) throw new RangeError(`there is no figure '${name}'`)
  return found
})

/**
 * @typedef {object} Loaded what to do to a peer
 * @property {'closed' | 'open' | 'http'} mode
 * @property {Record<string, string | number>} options
 * @property {Record<string, string | number>} [warmUp] the same for before, when what has been compiled is not hot yet
 * @property {number} [held] connections that are open meanwhile, and idle
 * @property {number} [least] right answers without which nothing can be said [100]
 */

/**
 * Starts a peer, warms it up, loads it, and says what that cost.
 *
 * @param {import('./types.js').Context} context
 * @param {import('./peer.mjs').Peer} peer
 * @param {Loaded} loaded
 */
export async function underLoad(context, peer, { mode, options, warmUp, held = 0, least = LEAST }) {
  const server = await context.start(peer)
  const { port } = server
  const idle = held === 0 ? undefined : await server.during(heldOpen(port, held))
  if (warmUp !== undefined) await server.during(load({ mode, port, options: { ...options, ...warmUp }, least: 1 }))
  const before = use(server.pid)
  const report = await server.during(load({ mode, port, options, least }))
  const after = use(server.pid)
  if (idle !== undefined) await server.during(idle.release())
  const spent = cpuBetween(server.pid, before, after)
  return {
    rate: report.connections_per_second,
    cpu: spent.all / report.total,
    // Threads of one process share its times, and one process has no parent.
    parent: after.size > 1 ? spent.parent / report.total : Number.NaN,
    p50: report.latency_us.p50 / 1000,
    p99: report.latency_us.p99 / 1000,
    p999: report.latency_us.p999 / 1000,
    spread: spreadOver(report.workers, peer.workers),
    memory: memory(server.pid, after).all / 1e6,
  }
}

/**
 * The busiest worker's answers by the idlest one's; infinite if one had none.
 *
 * @param {Record<string, number>} answers by worker's name
 * @param {number} workers how many there are
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
async function heldOpen(port, connections) {
  return await hold({ port, options: { connections, rate: HOLD_RATE }, least: connections })
}

const LEAST = 100
/** Connections a second: slow enough that none of them waits for another. */
const HOLD_RATE = 2000
