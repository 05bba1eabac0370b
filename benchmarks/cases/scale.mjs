// What many workers, many idle connections and many waiting ones cost.

import { setTimeout as wait } from 'node:timers/promises'
import { columns, underLoad } from '../harness/figures.mjs'
import { hold } from '../harness/load.mjs'
import { peers } from '../harness/peer.mjs'
import { memory, use } from '../harness/processes.mjs'

const CLIENTS = 64
/** Seconds. */
const LONGEST_WARM_UP = 60

/** @type {import('../harness/types.js').Case} */
export const scale = {
  name: 'scale',
  title: 'Scale',
  groups: (options) => [manyWorkers(options), manyIdle(options), manyWaiting(options)],
}

/**
 * @param {import('../harness/options.mjs').Options} options
 * @returns {import('../harness/types.js').Group}
 */
function manyWorkers(options) {
  const subject = (/** @type {string} */ name, /** @type {import('../harness/peer.mjs').Peer} */ peer) => ({
    name,
    label: `${peer.label}, ${peer.workers} workers`,
    measure: (/** @type {import('../harness/types.js').Context} */ context) =>
      underLoad(context, peer, {
        mode: 'closed',
        options: { clients: CLIENTS, seconds: options.quick ? 1 : 4 },
        // Until the last worker's code is compiled: in a cold one a connection costs ten times as much.
        warmUp: { connections: (options.quick ? 200 : 2000) * peer.workers, seconds: LONGEST_WARM_UP },
      }),
  })
  const behaviour = /** @type {const} */ ('short')
  const many = options.quick ? 16 : 64
  return {
    name: 'workers',
    title: `Many workers, ${CLIENTS} clients at a time`,
    subjects: [
      // For comparison, and too long for a short run.
      ...(options.quick
        ? []
        : [
            subject('shared-2', peers.shared({ behaviour, workers: 2 })),
            subject('shared-many', peers.shared({ behaviour, workers: many })),
          ]),
      subject('2', peers.processes({ behaviour, workers: 2 })),
      subject('many', peers.processes({ behaviour, workers: many })),
      subject('many-first', peers.first({ behaviour, workers: many })),
    ],
    columns: [columns.rate, columns.cpu, columns.parent, columns.p99, columns.memory],
    base: '2',
    ratios: [{ figure: 'cpu', title: 'CPU' }],
    targets: [
      { says: `CPU, ${many} workers / 2`, subject: 'many', figure: 'cpu', against: '2', by: 'ratio', atMost: 1.3 },
      {
        says: `CPU, ${many} workers by the policy first / 2`,
        subject: 'many-first',
        figure: 'cpu',
        against: '2',
        by: 'ratio',
        atMost: 1.3,
      },
    ],
  }
}

/**
 * @param {import('../harness/options.mjs').Options} options
 * @returns {import('../harness/types.js').Group}
 */
function manyIdle(options) {
  const most = options.quick ? 2000 : 10_000
  const peer = peers.processes({ behaviour: 'hold', workers: 2 })
  return {
    name: 'idle',
    title: `${most} idle connections, ${CLIENTS} clients at a time, 2 workers`,
    subjects: [0, most].map((held) => ({
      name: held === 0 ? 'none' : 'idle',
      label: `${peer.label}, ${held} idle`,
      measure: (context) =>
        underLoad(context, peer, {
          mode: 'closed',
          // The same behaviour for both: it leaves the end to the client.
          options: { clients: CLIENTS, seconds: options.quick ? 0.8 : 3, until: 'newline' },
          warmUp: { seconds: options.quick ? 0.3 : 1 },
          held,
        }),
    })),
    columns: [columns.rate, columns.cpu, columns.parent, columns.p99],
    base: 'none',
    ratios: [{ figure: 'cpu', title: 'CPU' }],
    targets: [
      {
        says: `CPU, ${most} idle connections / none`,
        subject: 'idle',
        figure: 'cpu',
        against: 'none',
        by: 'ratio',
        atMost: 1.1,
      },
    ],
  }
}

/**
 * @param {import('../harness/options.mjs').Options} options
 * @returns {import('../harness/types.js').Group}
 */
function manyWaiting(options) {
  const connections = options.quick ? 2000 : 10_000
  // Nobody takes them, so they stay in the queue.
  const peer = peers.processes({ behaviour: 'short', workers: 0, maxQueue: 2 * connections })
  return {
    name: 'waiting',
    title: `${connections} connections that wait for a worker`,
    subjects: [
      {
        name: 'waiting',
        label: peer.label,
        measure: async (context) => {
          const server = await context.start(peer)
          // A parent that has just started still gives back what starting took.
          await wait(SETTLED)
          const before = memory(server.pid, use(server.pid)).parent
          const options = { connections, rate: 4 * CLIENTS * CLIENTS, expect: 'nothing' }
          const held = await server.during(hold({ port: server.port, options, least: 0 }))
          await server.during(server.stats('queued', connections))
          const after = memory(server.pid, use(server.pid)).parent
          await server.during(held.release())
          return { each: (after - before) / 1024 / connections }
        },
      },
    ],
    columns: [{ figure: 'each', title: 'parent RSS each', unit: 'KiB', digits: 2 }],
    base: 'waiting',
    ratios: [],
    targets: [{ says: 'parent RSS by waiting connection, KiB', subject: 'waiting', figure: 'each', atMost: 1 }],
  }
}

/** Milliseconds. */
const SETTLED = 500
