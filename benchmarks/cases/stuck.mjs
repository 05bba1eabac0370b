// One of four workers blocks its event loop for 100 ms ten times a second, so it turns between two blocks and no more.
// What others wait is what they would not have waited without it.

import { columns, underLoad } from '../harness/figures.mjs'
import { peers } from '../harness/peer.mjs'

const WORKERS = 4
/** Milliseconds. */
const BLOCKED = 100
/** Connections a second: far from what three workers can do, so that a wait is the stuck one's doing. */
const RATE = 1500

/** @type {import('../harness/types.js').Case} */
export const stuck = {
  name: 'stuck',
  title: `A stuck worker: one of ${WORKERS} blocks its event loop for ${BLOCKED} ms ten times a second`,
  groups: (options) => {
    const wanted = { behaviour: /** @type {const} */ ('short'), workers: WORKERS }
    const subject = (
      /** @type {string} */ name,
      /** @type {string} */ how,
      /** @type {import('../harness/peer.mjs').Peer} */ peer,
    ) => ({
      name,
      label: `${peer.label}, ${how}`,
      measure: (/** @type {import('../harness/types.js').Context} */ context) =>
        underLoad(context, peer, {
          mode: 'open',
          options: { rate: RATE, seconds: options.quick ? 1.2 : 5, seed: 1 + context.round },
          warmUp: { seconds: options.quick ? 0.3 : 1 },
        }),
    })
    return [
      {
        name: 'short-connections',
        title: `Short connections, ${RATE} a second, Poisson arrivals`,
        subjects: [
          ...(options.quick
            ? []
            : [
                subject('round-robin-stuck', 'one stuck', peers.roundRobin({ ...wanted, stuck: BLOCKED })),
                subject('shared-stuck', 'one stuck', peers.shared({ ...wanted, stuck: BLOCKED })),
              ]),
          subject('calm', 'none stuck', peers.processes(wanted)),
          subject('stuck', 'one stuck', peers.processes({ ...wanted, stuck: BLOCKED })),
        ],
        columns: [columns.p50, columns.p99, columns.p999],
        base: 'calm',
        ratios: [{ figure: 'p99', title: 'p99' }],
        targets: [
          {
            says: 'p99, one stuck / none',
            subject: 'stuck',
            figure: 'p99',
            against: 'calm',
            by: 'ratio',
            atMost: 1.2,
          },
        ],
        chart: { figure: 'p99', title: 'p99 with a stuck worker, milliseconds', file: 'stuck' },
      },
    ]
  },
}
