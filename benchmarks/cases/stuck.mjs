// One of four workers blocks its event loop for 100 ms ten times a second, so it turns between two blocks and no more.
// What others wait is what they would not have waited without it.

import { columns, underLoad } from '../harness/figures.mjs'
import { peers } from '../harness/peer.mjs'

const WORKERS = 4
/** Milliseconds. */
const BLOCKED = 100
/** Seconds until V8 has compiled what the three others run: before that the tail is its. */
const COMPILED = 5
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
          warmUp: { seconds: options.quick ? 0.3 : COMPILED },
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
