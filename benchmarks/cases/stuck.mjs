// Measures how much a worker with a blocked event loop delays connections that other workers could take.

import { columns, measureUnderLoad } from '../harness/metrics.mjs'
import { peers } from '../harness/peers.mjs'

const WORKERS = 4
/** Milliseconds. */
const BLOCK_TIME = 100
/** Seconds until V8 has optimised the code in all workers, which would dominate the tail. */
const WARM_UP = 5
/** Connections per second, far below the capacity of three workers, so that only the stuck worker causes delays. */
const RATE = 1500

/** @type {import('../harness/types.js').Case} */
export const stuck = {
  name: 'stuck',
  title: `A stuck worker: one of ${WORKERS} blocks its event loop for ${BLOCK_TIME} ms ten times per second`,
  groups: (options) => {
    const wanted = { behaviour: /** @type {const} */ ('short'), workers: WORKERS }
    const subject = (
      /** @type {string} */ name,
      /** @type {string} */ condition,
      /** @type {import('../harness/peers.mjs').Peer} */ peer,
    ) => ({
      name,
      label: `${peer.label}, ${condition}`,
      measure: (/** @type {import('../harness/types.js').Context} */ context) =>
        measureUnderLoad(context, peer, {
          mode: 'open',
          options: { rate: RATE, seconds: options.quick ? 1.2 : 5, seed: 1 + context.round },
          warmUp: { seconds: options.quick ? 0.3 : WARM_UP },
        }),
    })
    return [
      {
        name: 'short-connections',
        title: `Short connections, ${RATE} per second, Poisson arrivals`,
        subjects: [
          ...(options.quick
            ? []
            : [
                subject('round-robin-stuck', 'one stuck', peers.roundRobin({ ...wanted, stuck: BLOCK_TIME })),
                subject('shared-stuck', 'one stuck', peers.shared({ ...wanted, stuck: BLOCK_TIME })),
              ]),
          subject('none-stuck', 'none stuck', peers.processes(wanted)),
          subject('stuck', 'one stuck', peers.processes({ ...wanted, stuck: BLOCK_TIME })),
        ],
        columns: [columns.p50, columns.p99, columns.p999],
        baseline: 'none-stuck',
        ratios: [{ metric: 'p99', title: 'p99' }],
        targets: [
          {
            description: 'p99, one stuck / none',
            subject: 'stuck',
            metric: 'p99',
            baseline: 'none-stuck',
            comparison: 'ratio',
            atMost: 1.2,
          },
        ],
        chart: { metric: 'p99', title: 'p99 with a stuck worker, milliseconds', file: 'stuck' },
      },
    ]
  },
}
