// Connections that stay: how evenly they come to lie when they arrive slowly.

import { spreadOver } from '../harness/figures.mjs'
import { hold } from '../harness/load.mjs'
import { peers } from '../harness/peer.mjs'

const WORKERS = 2
/** Connections a second: each is served before the next one comes. */
const RATE = 2000

/** @type {import('../harness/types.js').Case} */
export const fairness = {
  name: 'fairness',
  title: 'Fairness: connections that stay open',
  groups: (options) => {
    const connections = options.quick ? 1000 : 10_000
    const wanted = { behaviour: /** @type {const} */ ('hold'), workers: WORKERS }
    const leastBusy = peers.processes({ ...wanted, policy: 'least-busy' })
    const inTurn = peers.processes({ ...wanted, policy: 'round-robin' })
    const compared = [
      { peer: peers.roundRobin(wanted), name: 'round-robin', label: 'cluster SCHED_RR' },
      { peer: peers.shared(wanted), name: 'shared', label: 'cluster SCHED_NONE' },
      { peer: leastBusy, name: 'least-busy', label: `${leastBusy.label}, least-busy` },
      { peer: inTurn, name: 'in-turn', label: `${inTurn.label}, round-robin` },
    ]
    return [
      {
        name: 'held',
        title: `${connections} connections, ${RATE} a second, ${WORKERS} workers`,
        subjects: compared.map(({ peer, name, label }) => ({
          name,
          label,
          measure: async (context) => {
            const server = await context.start(peer)
            const run = { port: server.port, options: { connections, rate: RATE }, least: connections }
            const held = await server.during(hold(run))
            const { workers } = await server.during(held.release())
            const counts = Object.values(workers)
            return { spread: spreadOver(workers, WORKERS), most: Math.max(...counts) / connections }
          },
        })),
        columns: [
          { figure: 'spread', title: 'max/min of workers', unit: '', digits: 3 },
          { figure: 'most', title: 'share of the busiest', unit: '', digits: 3 },
        ],
        base: 'shared',
        ratios: [],
        targets: [
          { says: 'max/min over workers, least-busy', subject: 'least-busy', figure: 'spread', atMost: 1.02 },
          { says: 'max/min over workers, round-robin', subject: 'in-turn', figure: 'spread', atMost: 1.02 },
        ],
      },
    ]
  },
}
