// Measures how evenly long-lived connections are distributed when they arrive slowly.

import { hold } from '../harness/load.mjs'
import { spreadOver } from '../harness/metrics.mjs'
import { peers } from '../harness/peers.mjs'

const WORKERS = 2
/** Connections per second, low enough that each is answered before the next one arrives. */
const RATE = 2000

/** @type {import('../harness/types.js').Case} */
export const fairness = {
  name: 'fairness',
  title: 'Fairness: long-lived connections',
  groups: (options) => {
    const connections = options.quick ? 1000 : 10_000
    const wanted = { behaviour: /** @type {const} */ ('hold'), workers: WORKERS }
    const leastBusy = peers.processes({ ...wanted, policy: 'least-busy' })
    const roundRobin = peers.processes({ ...wanted, policy: 'round-robin' })
    const compared = [
      { peer: peers.roundRobin(wanted), name: 'round-robin', label: 'cluster SCHED_RR' },
      { peer: peers.shared(wanted), name: 'shared', label: 'cluster SCHED_NONE' },
      { peer: leastBusy, name: 'least-busy', label: `${leastBusy.label}, least-busy` },
      { peer: roundRobin, name: 'round-robin-policy', label: `${roundRobin.label}, round-robin` },
    ]
    return [
      {
        name: 'held',
        title: `${connections} connections, ${RATE} per second, ${WORKERS} workers`,
        subjects: compared.map(({ peer, name, label }) => ({
          name,
          label,
          measure: async (context) => {
            const server = await context.start(peer)
            const run = { port: server.port, options: { connections, rate: RATE }, least: connections }
            const connected = await server.during(hold(run))
            const { workers } = await server.during(connected.release())
            const counts = Object.values(workers)
            return { spread: spreadOver(workers, WORKERS), most: Math.max(...counts) / connections }
          },
        })),
        columns: [
          { metric: 'spread', title: 'max/min of workers', unit: '', digits: 3 },
          { metric: 'most', title: 'share of the busiest worker', unit: '', digits: 3 },
        ],
        baseline: 'shared',
        ratios: [],
        targets: [
          { description: 'max/min over workers, least-busy', subject: 'least-busy', metric: 'spread', atMost: 1.02 },
          {
            description: 'max/min over workers, round-robin',
            subject: 'round-robin-policy',
            metric: 'spread',
            atMost: 1.02,
          },
        ],
      },
    ]
  },
}
