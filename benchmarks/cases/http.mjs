// Measures requests on keep-alive connections. After the handoff, this package does not touch them.

import { columns, measureUnderLoad } from '../harness/metrics.mjs'
import { peers } from '../harness/peers.mjs'

const CLIENTS = 32

/** @type {import('../harness/types.js').Case} */
export const http = {
  name: 'http',
  title: 'Keep-alive HTTP through serve()',
  groups: (options) => [1, 2].map((workers) => group(options, workers)),
}

/**
 * @param {import('../harness/options.mjs').Options} options
 * @param {number} workers
 * @returns {import('../harness/types.js').Group}
 */
function group(options, workers) {
  const wanted = { behaviour: /** @type {const} */ ('http'), workers }
  const comparison = { subject: 'processes', baseline: 'shared' }
  // SCHED_RR distributes the connections evenly, as this package does; SCHED_NONE does not.
  const other = workers === 1 ? peers.single(wanted) : peers.roundRobin(wanted)
  const compared = [other, peers.shared(wanted), peers.processes(wanted)]
  return {
    name: `${workers}-workers`,
    title: `${CLIENTS} connections, ${workers === 1 ? 'one worker' : `${workers} workers`}`,
    subjects: compared.map((peer) => ({
      name: peer.name,
      label: peer.name === 'single' ? 'http.Server, one process' : peer.label,
      measure: (context) =>
        measureUnderLoad(context, peer, {
          mode: 'http',
          options: { clients: CLIENTS, seconds: options.quick ? 0.7 : 5 },
          warmUp: { seconds: options.quick ? 0.4 : 2 },
        }),
    })),
    columns: [columns.requests, columns.cpu, columns.parent, columns.p50, columns.p99],
    baseline: 'shared',
    ratios: [
      { metric: 'cpu', title: 'CPU' },
      { metric: 'rate', title: 'requests/s' },
    ],
    targets: [
      {
        description: `CPU each with ${workers} of each, socketserver / SCHED_NONE`,
        metric: 'cpu',
        atMost: 1.03,
        ...comparison,
      },
      {
        description: `requests/s with ${workers} of each, socketserver / SCHED_NONE`,
        metric: 'rate',
        atLeast: 0.97,
        ...comparison,
      },
    ],
  }
}
