// Measures the latency of a single connection: one client connects again after each answer. Peers differ only in the time
// from connect to the handler.

import { columns, measureUnderLoad } from '../harness/metrics.mjs'
import { hasReusePort, peers } from '../harness/peers.mjs'

/** @type {import('../harness/types.js').Case} */
export const latency = {
  name: 'latency',
  title: 'A single connection, from connect to answer',
  groups: (options) => {
    const wanted = { behaviour: /** @type {const} */ ('short'), workers: 2 }
    // A quick run has only the peers that the targets need.
    const required = [peers.roundRobin(wanted), peers.shared(wanted), peers.processes(wanted)]
    const all = [
      peers.single(wanted),
      peers.roundRobin(wanted),
      peers.shared(wanted),
      ...(hasReusePort(options) ? [peers.reusePort(wanted)] : []),
      ...(options.socketservertcl === undefined ? [] : [peers.socketservertcl(wanted)]),
      peers.processes(wanted),
      peers.threads(wanted),
    ]
    const compared = options.quick ? required : all
    return [
      {
        name: 'one-client',
        title: 'One client, 2 workers',
        subjects: compared.map((peer) => ({
          name: peer.name,
          label: peer.label,
          measure: (context) =>
            measureUnderLoad(context, peer, {
              mode: 'closed',
              options: { clients: 1, seconds: options.quick ? 0.5 : 3 },
              warmUp: { seconds: options.quick ? 0.3 : 1 },
            }),
        })),
        columns: [columns.p50, columns.p99, columns.p999, columns.cpu],
        baseline: 'shared',
        ratios: [{ metric: 'p50', title: 'p50' }],
        targets: [
          {
            description: 'p50, socketserver - SCHED_NONE, ms',
            subject: 'processes',
            metric: 'p50',
            baseline: 'shared',
            comparison: 'difference',
            atMost: 0.03,
          },
          {
            description: 'p50, socketserver / SCHED_RR',
            subject: 'processes',
            metric: 'p50',
            baseline: 'round-robin',
            comparison: 'ratio',
            atMost: 0.6,
          },
        ],
        chart: {
          metric: 'p50',
          title: 'A single connection, from connect to answer, median, milliseconds',
          file: 'latency',
        },
      },
    ]
  },
}
