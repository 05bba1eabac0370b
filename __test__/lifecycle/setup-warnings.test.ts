// When a server that lacks listeners or workers is worth a warning, with the clock of the test.

import { mock } from 'node:test'
import test from 'ava'
import { library } from '../helpers/library.js'

const { SetupWarnings } = library('server/setup-warnings')

interface World {
  state: { hasListener: boolean; hasWorkers: boolean; isReady: boolean; queued: number }
  warnings: InstanceType<typeof SetupWarnings>
  told: string[]
}

function world(): World {
  const state = { hasListener: false, hasWorkers: false, isReady: false, queued: 0 }
  const told: string[] = []
  mock.timers.enable({ apis: ['setInterval'] })
  mock.method(process, 'emitWarning', (_message: string, { code }: { code: string }) => told.push(code))
  const warnings = new SetupWarnings({
    hasListener: () => state.hasListener,
    hasWorkers: () => state.hasWorkers,
    isReady: () => state.isReady,
    queued: () => state.queued,
  })
  return { state, warnings, told }
}

test.afterEach.always(() => {
  mock.timers.reset()
  mock.restoreAll()
})

test.serial('a listener without workers is fine while nobody has connected', (t) => {
  const { state, warnings, told } = world()
  state.hasListener = true
  warnings.update()
  mock.timers.tick(60_000)
  t.deepEqual(told, [])
  state.queued = 1
  mock.timers.tick(4000)
  t.deepEqual(told, [])
  mock.timers.tick(60_000)
  warnings.update()
  mock.timers.tick(60_000)
  t.deepEqual(told, ['SOCKETSERVER_NO_WORKERS'])
})

test.serial('workers that still start may take their time, and those that are ready wait for a listener', (t) => {
  const { state, warnings, told } = world()
  state.hasWorkers = true
  warnings.update()
  mock.timers.tick(60_000)
  t.deepEqual(told, [])
  state.isReady = true
  mock.timers.tick(60_000)
  t.deepEqual(told, ['SOCKETSERVER_NO_LISTENER'])
})

test.serial('a server that has both, or is closed, is not looked at any more', (t) => {
  const { state, warnings, told } = world()
  state.hasWorkers = true
  state.isReady = true
  warnings.update()
  mock.timers.tick(3000)
  state.hasListener = true
  warnings.update()
  state.queued = 5
  mock.timers.tick(60_000)
  t.deepEqual(told, [])
  state.hasListener = false
  warnings.update()
  warnings.stop()
  mock.timers.tick(60_000)
  t.deepEqual(told, [])
})
