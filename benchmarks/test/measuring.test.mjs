import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { spreadOver } from '../harness/figures.mjs'
import { peers } from '../harness/peer.mjs'
import { cpuBetween, use } from '../harness/processes.mjs'
import { hasLoad, loaded, measured } from './context.mjs'

const withLoad = hasLoad ? test : test.skip

for (const [name, peer] of Object.entries({
  single: peers.single({ behaviour: 'short', workers: 1 }),
  roundRobin: peers.roundRobin({ behaviour: 'short', workers: 2 }),
  shared: peers.shared({ behaviour: 'short', workers: 2 }),
  processes: peers.processes({ behaviour: 'short', workers: 2 }),
  threads: peers.threads({ behaviour: 'short', workers: 2 }),
})) {
  withLoad(`a peer that serves as it should has figures: ${name}`, async (t) => {
    const found = (await measured([loaded(peer)])).get(peer.name)
    t.is(found?.failure, undefined)
    t.is(found?.rounds.length, 2)
    for (const { rate = 0, cpu = 0, p50 = 0, memory = 0 } of found?.rounds ?? []) {
      t.true(rate > 10 && cpu > 1 && cpu < 1e5 && p50 > 0.001 && memory > 1, JSON.stringify(found))
    }
  })
}

test('lines are measured in turn, each round beginning with another', async (t) => {
  /** @type {string[]} */
  const order = []
  const line = (/** @type {string} */ name) => ({
    name,
    label: name,
    measure: async (/** @type {import('../harness/types.js').Context} */ { round }) => {
      order.push(`${name}${round}`)
      return { rate: 1 }
    },
  })
  await measured(['a', 'b', 'c'].map(line))
  t.deepEqual(order, ['a0', 'b0', 'c0', 'b1', 'c1', 'a1'])
})

test('a measurement has a folder of its own, and leaves nothing', async (t) => {
  /** @type {string[]} */
  const folders = []
  const measure = async (/** @type {import('../harness/types.js').Context} */ { folder }) => {
    writeFileSync(join(folder, 'file'), '')
    folders.push(folder)
    return { rate: 1 }
  }
  await measured([{ name: 'a', label: 'a', measure }])
  t.is(new Set(folders).size, 2)
  t.false(folders.some((folder) => existsSync(folder)))
})

test('processor time is counted over all processes, and of the first alone', (t) => {
  const at = (/** @type {number[]} */ ...times) =>
    new Map(times.map((cpu, index) => [index + 1, { pid: index + 1, parent: index, cpu, memory: 0 }]))
  // The third began in between, so all its time counts.
  t.deepEqual(cpuBetween(1, at(100, 50), at(130, 90, 7)), { all: 77, parent: 30 })
  t.throws(() => cpuBetween(1, at(100, 50), at(130)), { message: /process 2 of the server has ended/ })
})

test('this very process uses time and memory', (t) => {
  const before = use(process.pid)
  const began = performance.now()
  while (performance.now() - began < 30);
  const { parent } = cpuBetween(process.pid, before, use(process.pid))
  t.true(parent > 1000 && (before.get(process.pid)?.memory ?? 0) > 1e6, `${parent} us`)
})

test('a worker that has answered nothing counts for the spread', (t) => {
  t.is(spreadOver({ a: 30, b: 20 }, 2), 1.5)
  t.is(spreadOver({ a: 30, b: 20 }, 3), Number.POSITIVE_INFINITY)
})
