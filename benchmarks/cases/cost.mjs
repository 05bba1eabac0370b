// Measures the cost of a short connection: connect, send a line, read the answer, close, as fast as possible.

import { connectionColumns, measureUnderLoad } from '../harness/metrics.mjs'
import { hasReusePort, peers } from '../harness/peers.mjs'

const WORKERS = 2
const MOST_CLIENTS = 64

/** @type {import('../harness/types.js').Case} */
export const cost = {
  name: 'cost',
  title: 'Cost of a short connection',
  groups: (options) => [MOST_CLIENTS, 8].map((clients) => group(options, clients)),
}

/**
 * @param {import('../harness/options.mjs').Options} options
 * @param {number} clients
 * @returns {import('../harness/types.js').Group}
 */
function group(options, clients) {
  return {
    name: `${clients}-clients`,
    title: `${clients} clients at a time, ${WORKERS} workers`,
    subjects: compared(options, clients).map((peer) => ({
      name: peer.name,
      label: peer.label,
      measure: (context) =>
        measureUnderLoad(context, peer, {
          mode: 'closed',
          options: { clients, seconds: options.quick ? 0.5 : 3 },
          warmUp: { seconds: options.quick ? 0.3 : 1 },
        }),
    })),
    columns: connectionColumns,
    baseline: 'shared',
    ratios: [
      { metric: 'cpu', title: 'CPU' },
      { metric: 'rate', title: 'conn/s' },
    ],
    targets: [
      ...targets('processes', 'socketserver', clients),
      ...(options.quick ? [] : targets('first', 'policy first', clients)),
    ],
    chart: {
      metric: 'cpu',
      title: `Server CPU per connection, ${clients} clients at a time, microseconds`,
      file: `cost-${clients}-clients`,
    },
  }
}

/**
 * Returns the targets of one of this package's peers, compared with Node's two cluster policies.
 *
 * @param {string} subject
 * @param {string} label
 * @param {number} clients
 * @returns {import('../harness/types.js').Target[]}
 */
function targets(subject, label, clients) {
  const describe = (/** @type {string} */ title, /** @type {string} */ baseline) =>
    `${title} with ${clients} clients, ${label} / ${baseline}`
  return [
    { description: describe('CPU', 'SCHED_NONE'), subject, metric: 'cpu', baseline: 'shared', atMost: 1.1 },
    { description: describe('CPU', 'SCHED_RR'), subject, metric: 'cpu', baseline: 'round-robin', atMost: 0.3 },
    { description: describe('conn/s', 'SCHED_NONE'), subject, metric: 'rate', baseline: 'shared', atLeast: 0.95 },
    { description: describe('conn/s', 'SCHED_RR'), subject, metric: 'rate', baseline: 'round-robin', atLeast: 3 },
  ]
}

/**
 * @param {import('../harness/options.mjs').Options} options
 * @param {number} clients
 */
function compared(options, clients) {
  const wanted = { behaviour: /** @type {const} */ ('short'), workers: WORKERS }
  // The second table of a quick run has only the peers that the targets need.
  if (options.quick && clients < MOST_CLIENTS) {
    return [peers.roundRobin(wanted), peers.shared(wanted), peers.processes(wanted)]
  }
  return [
    peers.single(wanted),
    peers.roundRobin(wanted),
    peers.shared(wanted),
    ...(hasReusePort(options) ? [peers.reusePort(wanted)] : []),
    ...(options.socketservertcl === undefined ? [] : [peers.socketservertcl(wanted)]),
    peers.processes(wanted),
    ...(options.quick ? [] : [peers.first(wanted)]),
    peers.threads(wanted),
  ]
}
