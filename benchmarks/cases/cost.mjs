// What a short connection costs: connect, a line, its answer, close, as fast as that goes.

import { everyColumn, underLoad } from '../harness/figures.mjs'
import { hasReusePort, peers } from '../harness/peer.mjs'

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
        underLoad(context, peer, {
          mode: 'closed',
          options: { clients, seconds: options.quick ? 0.5 : 3 },
          warmUp: { seconds: options.quick ? 0.3 : 1 },
        }),
    })),
    columns: everyColumn,
    base: 'shared',
    ratios: [
      { figure: 'cpu', title: 'CPU' },
      { figure: 'rate', title: 'conn/s' },
    ],
    targets: [...aims('processes', 'here', clients), ...(options.quick ? [] : aims('first', 'policy first', clients))],
    chart: {
      figure: 'cpu',
      title: `Server CPU per connection, ${clients} clients at a time, microseconds`,
      file: `cost-${clients}-clients`,
    },
  }
}

/**
 * What one of ours is to reach beside the two of Node.
 *
 * @param {string} subject
 * @param {string} who
 * @param {number} clients
 * @returns {import('../harness/types.js').Target[]}
 */
function aims(subject, who, clients) {
  const of = { subject, by: /** @type {const} */ ('ratio') }
  const says = (/** @type {string} */ what, /** @type {string} */ against) =>
    `${what} with ${clients} clients, ${who} / ${against}`
  return [
    { says: says('CPU', 'SCHED_NONE'), figure: 'cpu', against: 'shared', atMost: 1.1, ...of },
    { says: says('CPU', 'SCHED_RR'), figure: 'cpu', against: 'round-robin', atMost: 0.3, ...of },
    { says: says('conn/s', 'SCHED_NONE'), figure: 'rate', against: 'shared', atLeast: 0.95, ...of },
    { says: says('conn/s', 'SCHED_RR'), figure: 'rate', against: 'round-robin', atLeast: 3, ...of },
  ]
}

/**
 * @param {import('../harness/options.mjs').Options} options
 * @param {number} clients
 */
function compared(options, clients) {
  const wanted = { behaviour: /** @type {const} */ ('short'), workers: WORKERS }
  // The second table of a short run keeps to what the aims compare.
  if (options.quick && clients < MOST_CLIENTS)
    return [peers.roundRobin(wanted), peers.shared(wanted), peers.processes(wanted)]
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
