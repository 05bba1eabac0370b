// When a server without listeners or workers emits a warning, on mocked timers.

import { mock } from 'node:test'
import test from 'ava'
import { library } from '../helpers/library.js'

const { SetupWarnings } = library('server/setup-warnings')

interface Setup {
  state: { hasListener: boolean; hasWorkers: boolean; isReady: boolean; queued: number }
  warnings: InstanceType<typeof SetupWarnings>
  warned: string[]
}

function setUp(): Setup {
  const state = { hasListener: false, hasWorkers: false, isReady: false, queued: 0 }
  const warned: string[] = []
  mock.timers.enable({ apis: ['setInterval'] })
  mock.method(process, 'emitWarning', (_message: string, { code }: { code: string }) => warned.push(code))
  const warnings = new SetupWarnings({
    hasListener: () => state.hasListener,
    hasWorkers: () => state.hasWorkers,
    isReady: () => state.isReady,
    queued: () => state.queued,
  })
  return { state, warnings, warned }
}

test.afterEach.always(() => {
  mock.timers.reset()
  mock.restoreAll()
})

test.serial('a listener without workers is reported only after a client has connected', (t) => {
  const { state, warnings, warned } = setUp()
  state.hasListener = true
  warnings.update()
  mock.timers.tick(60_000)
  t.deepEqual(warned, [])
  state.queued = 1
  mock.timers.tick(4000)
  t.deepEqual(warned, [])
  mock.timers.tick(60_000)
  warnings.update()
  mock.timers.tick(60_000)
  t.deepEqual(warned, ['SOCKETSERVER_NO_WORKERS'])
})

test.serial('missing listeners are reported only after the workers are ready', (t) => {
  const { state, warnings, warned } = setUp()
  state.hasWorkers = true
  warnings.update()
  mock.timers.tick(60_000)
  t.deepEqual(warned, [])
  state.isReady = true
  mock.timers.tick(60_000)
  t.deepEqual(warned, ['SOCKETSERVER_NO_LISTENER'])
})

test.serial('a server that has both, or is closed, is no longer checked', (t) => {
  const { state, warnings, warned } = setUp()
  state.hasWorkers = true
  state.isReady = true
  warnings.update()
  mock.timers.tick(3000)
  state.hasListener = true
  warnings.update()
  state.queued = 5
  mock.timers.tick(60_000)
  t.deepEqual(warned, [])
  state.hasListener = false
  warnings.update()
  warnings.stop()
  mock.timers.tick(60_000)
  t.deepEqual(warned, [])
})
