// Measures the cost of many workers, many idle connections and many queued connections.

import { setTimeout as wait } from 'node:timers/promises'
import { hold } from '../harness/load.mjs'
import { columns, measureUnderLoad } from '../harness/metrics.mjs'
import { peers } from '../harness/peers.mjs'
import { memory, usage } from '../harness/processes.mjs'

const CLIENTS = 64
/** Seconds. */
const LONGEST_WARM_UP = 60

/** @type {import('../harness/types.js').Case} */
export const scale = {
  name: 'scale',
  title: 'Scale',
  groups: (options) => [manyWorkers(options), manyIdle(options), manyQueued(options)],
}

/**
 * @param {import('../harness/options.mjs').Options} options
 * @returns {import('../harness/types.js').Group}
 */
function manyWorkers(options) {
  const subject = (/** @type {string} */ name, /** @type {import('../harness/peers.mjs').Peer} */ peer) => ({
    name,
    label: `${peer.label}, ${peer.workers} workers`,
    measure: (/** @type {import('../harness/types.js').Context} */ context) =>
      measureUnderLoad(context, peer, {
        mode: 'closed',
        options: { clients: CLIENTS, seconds: options.quick ? 1 : 4 },
        // Until V8 has optimised the code in the last worker: before, a connection costs ten times as much.
        warmUp: { connections: (options.quick ? 200 : 2000) * peer.workers, seconds: LONGEST_WARM_UP },
      }),
  })
  const behaviour = /** @type {const} */ ('short')
  const many = options.quick ? 16 : 64
  return {
    name: 'workers',
    title: `Many workers, ${CLIENTS} clients at a time`,
    subjects: [
      // For comparison; too slow for a quick run.
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
    baseline: '2',
    ratios: [{ metric: 'cpu', title: 'CPU' }],
    targets: [
      {
        description: `CPU, ${many} workers / 2`,
        subject: 'many',
        metric: 'cpu',
        baseline: '2',
        comparison: 'ratio',
        atMost: 1.3,
      },
      {
        description: `CPU, ${many} workers with the policy first / 2`,
        subject: 'many-first',
        metric: 'cpu',
        baseline: '2',
        comparison: 'ratio',
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
  const count = options.quick ? 2000 : 10_000
  const peer = peers.processes({ behaviour: 'hold', workers: 2 })
  return {
    name: 'idle',
    title: `${count} idle connections, ${CLIENTS} clients at a time, 2 workers`,
    subjects: [0, count].map((held) => ({
      name: held === 0 ? 'none' : 'idle',
      label: `${peer.label}, ${held} idle`,
      measure: (context) =>
        measureUnderLoad(context, peer, {
          mode: 'closed',
          // Both rows use the behaviour `hold`, in which the client closes the connection.
          options: { clients: CLIENTS, seconds: options.quick ? 0.8 : 3, until: 'newline' },
          warmUp: { seconds: options.quick ? 0.3 : 1 },
          held,
        }),
    })),
    columns: [columns.rate, columns.cpu, columns.parent, columns.p99],
    baseline: 'none',
    ratios: [{ metric: 'cpu', title: 'CPU' }],
    targets: [
      {
        description: `CPU, ${count} idle connections / none`,
        subject: 'idle',
        metric: 'cpu',
        baseline: 'none',
        comparison: 'ratio',
        atMost: 1.1,
      },
    ],
  }
}

/**
 * @param {import('../harness/options.mjs').Options} options
 * @returns {import('../harness/types.js').Group}
 */
function manyQueued(options) {
  const connections = options.quick ? 2000 : 10_000
  // Without workers, the connections stay in the queue.
  const peer = peers.processes({ behaviour: 'short', workers: 0, maxQueue: 2 * connections })
  return {
    name: 'queued',
    title: `${connections} queued connections`,
    subjects: [
      {
        name: 'queued',
        label: peer.label,
        measure: async (context) => {
          const server = await context.start(peer)
          // A parent that has just started still returns memory to the system.
          await wait(SETTLE_TIME)
          const before = memory(server.pid, usage(server.pid)).parent
          const options = { connections, rate: 4 * CLIENTS * CLIENTS, expect: 'nothing' }
          const queued = await server.during(hold({ port: server.port, options, least: 0 }))
          await server.during(server.waitForStats('queued', connections))
          const after = memory(server.pid, usage(server.pid)).parent
          await server.during(queued.release())
          return { each: (after - before) / 1024 / connections }
        },
      },
    ],
    columns: [{ metric: 'each', title: 'parent RSS for each', unit: 'KiB', digits: 2 }],
    baseline: 'queued',
    ratios: [],
    targets: [
      { description: 'parent RSS for each queued connection, KiB', subject: 'queued', metric: 'each', atMost: 1 },
    ],
  }
}

/** Milliseconds. */
const SETTLE_TIME = 500
