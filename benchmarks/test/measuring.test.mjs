import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { spreadOver } from '../harness/metrics.mjs'
import { peers } from '../harness/peers.mjs'
import { cpuBetween, usage } from '../harness/processes.mjs'
import { hasLoad, measure, underLoad } from './helpers/context.mjs'

const withLoad = hasLoad ? test : test.skip

for (const [name, peer] of Object.entries({
  single: peers.single({ behaviour: 'short', workers: 1 }),
  roundRobin: peers.roundRobin({ behaviour: 'short', workers: 2 }),
  shared: peers.shared({ behaviour: 'short', workers: 2 }),
  processes: peers.processes({ behaviour: 'short', workers: 2 }),
  threads: peers.threads({ behaviour: 'short', workers: 2 }),
})) {
  withLoad(`a measurement has metrics: ${name}`, async (t) => {
    const found = (await measure([underLoad(peer)])).get(peer.name)
    t.is(found?.failure, undefined)
    t.is(found?.rounds.length, 2)
    for (const { rate = 0, cpu = 0, p50 = 0, memory = 0 } of found?.rounds ?? []) {
      t.true(rate > 10 && cpu > 1 && cpu < 1e5 && p50 > 0.001 && memory > 1, JSON.stringify(found))
    }
  })
}

test('subjects are measured in turn, and each round starts with the next subject', async (t) => {
  /** @type {string[]} */
  const order = []
  const subject = (/** @type {string} */ name) => ({
    name,
    label: name,
    measure: async (/** @type {import('../harness/types.js').Context} */ { round }) => {
      order.push(`${name}${round}`)
      return { rate: 1 }
    },
  })
  await measure(['a', 'b', 'c'].map(subject))
  t.deepEqual(order, ['a0', 'b0', 'c0', 'b1', 'c1', 'a1'])
})

test('each measurement has its own folder, which is removed afterwards', async (t) => {
  /** @type {string[]} */
  const folders = []
  const saveFolder = async (/** @type {import('../harness/types.js').Context} */ { folder }) => {
    writeFileSync(join(folder, 'file'), '')
    folders.push(folder)
    return { rate: 1 }
  }
  await measure([{ name: 'a', label: 'a', measure: saveFolder }])
  t.is(new Set(folders).size, 2)
  t.false(folders.some((folder) => existsSync(folder)))
})

test('CPU time is counted for all processes and for the main process', (t) => {
  const at = (/** @type {number[]} */ ...times) =>
    new Map(times.map((cpu, index) => [index + 1, { pid: index + 1, parent: index, cpu, memory: 0 }]))
  // The third process started in between, so all its time counts.
  t.deepEqual(cpuBetween(1, at(100, 50), at(130, 90, 7)), { all: 77, parent: 30 })
  t.throws(() => cpuBetween(1, at(100, 50), at(130)), { message: /process 2 of the server exited/ })
})

test('the test process uses CPU time and memory', (t) => {
  const before = usage(process.pid)
  const start = performance.now()
  while (performance.now() - start < 30);
  const { parent } = cpuBetween(process.pid, before, usage(process.pid))
  t.true(parent > 1000 && (before.get(process.pid)?.memory ?? 0) > 1e6, `${parent} us`)
})

test('a worker without answers makes the spread infinite', (t) => {
  t.is(spreadOver({ a: 30, b: 20 }, 2), 1.5)
  t.is(spreadOver({ a: 30, b: 20 }, 3), Number.POSITIVE_INFINITY)
})
