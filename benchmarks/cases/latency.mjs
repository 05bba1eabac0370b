// A lone connection: one client, which begins anew when it has been answered, so that nobody shares a turn with it. What
// differs between two ways of serving is the time from connecting to the handler; the rest is the same code.

import { columns, underLoad } from '../harness/figures.mjs'
import { hasReusePort, peers } from '../harness/peer.mjs'

/** @type {import('../harness/types.js').Case} */
export const latency = {
  name: 'latency',
  title: 'A lone connection, connect to answer',
  groups: (options) => {
    const wanted = { behaviour: /** @type {const} */ ('short'), workers: 2 }
    // A short run keeps to what the aims compare.
    const aims = [peers.roundRobin(wanted), peers.shared(wanted), peers.processes(wanted)]
    const everybody = [
      peers.single(wanted),
      peers.roundRobin(wanted),
      peers.shared(wanted),
      ...(hasReusePort(options) ? [peers.reusePort(wanted)] : []),
      ...(options.socketservertcl === undefined ? [] : [peers.socketservertcl(wanted)]),
      peers.processes(wanted),
      peers.threads(wanted),
    ]
    const compared = options.quick ? aims : everybody
    return [
      {
        name: 'one-client',
        title: 'One client, 2 workers',
        subjects: compared.map((peer) => ({
          name: peer.name,
          label: peer.label,
          measure: (context) =>
            underLoad(context, peer, {
              mode: 'closed',
              options: { clients: 1, seconds: options.quick ? 0.5 : 3 },
              warmUp: { seconds: options.quick ? 0.3 : 1 },
            }),
        })),
        columns: [columns.p50, columns.p99, columns.p999, columns.cpu],
        base: 'shared',
        ratios: [{ figure: 'p50', title: 'p50' }],
        targets: [
          {
            says: 'p50, here - SCHED_NONE, ms',
            subject: 'processes',
            figure: 'p50',
            against: 'shared',
            by: 'difference',
            atMost: 0.03,
          },
          {
            says: 'p50, here / SCHED_RR',
            subject: 'processes',
            figure: 'p50',
            against: 'round-robin',
            by: 'ratio',
            atMost: 0.6,
          },
        ],
        chart: { figure: 'p50', title: 'A lone connection, connect to answer, median, milliseconds', file: 'latency' },
      },
    ]
  },
}
