// Requests on kept connections: once a connection is where it belongs, nothing of ours is in its way.

import { columns, underLoad } from '../harness/figures.mjs'
import { peers } from '../harness/peer.mjs'

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
  const ours = { subject: 'processes', against: 'shared', by: /** @type {const} */ ('ratio') }
  // Round robin spreads the connections as evenly as we do, and SCHED_NONE does not.
  const other = workers === 1 ? peers.single(wanted) : peers.roundRobin(wanted)
  const compared = [other, peers.shared(wanted), peers.processes(wanted)]
  return {
    name: `${workers}-workers`,
    title: `${CLIENTS} connections, ${workers === 1 ? 'one worker' : `${workers} workers`}`,
    subjects: compared.map((peer) => ({
      name: peer.name,
      label: peer.name === 'single' ? 'http.Server, one process' : peer.label,
      measure: (context) =>
        underLoad(context, peer, {
          mode: 'http',
          options: { clients: CLIENTS, seconds: options.quick ? 0.7 : 5 },
          warmUp: { seconds: options.quick ? 0.4 : 2 },
        }),
    })),
    columns: [columns.requests, columns.cpu, columns.parent, columns.p50, columns.p99],
    base: 'shared',
    ratios: [
      { figure: 'cpu', title: 'CPU' },
      { figure: 'rate', title: 'requests/s' },
    ],
    targets: [
      { says: `CPU each, ${workers} here / ${workers} of SCHED_NONE`, figure: 'cpu', atMost: 1.03, ...ours },
      { says: `requests/s, ${workers} here / ${workers} of SCHED_NONE`, figure: 'rate', atLeast: 0.97, ...ours },
    ],
  }
}
