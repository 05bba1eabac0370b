import test from 'ava'
import fc from 'fast-check'
import { library } from '../helpers/library.js'

const { RestartPolicy } = library('server/pool/restart-policy')
const { isShortage } = library('server/pool/shortage')
const { SocketServerError } = library('errors')
const SETTINGS = { minDelay: 200, maxDelay: 30_000, minUptime: 2000, crashLoop: 5 }

test('a worker that has run for minUptime is replaced at once', (t) => {
  const policy = new RestartPolicy(SETTINGS)
  t.deepEqual(policy.exited(2000, 0.5), { delay: 0, failures: 0, isCrashLoop: false })
  t.deepEqual(policy.exited(1e9, 0.5), { delay: 0, failures: 0, isCrashLoop: false })
})

test('each quick exit in a row doubles the delay, and a crash loop has the longest delay', (t) => {
  const policy = new RestartPolicy(SETTINGS)
  const delays = [undefined, 0, 1999, undefined, 5, 5, undefined].map((uptime) => policy.exited(uptime, 0))
  t.deepEqual(
    delays.map(({ delay }) => delay),
    [200, 400, 800, 1600, 30_000, 30_000, 30_000],
  )
  t.deepEqual(
    delays.map(({ isCrashLoop }) => isCrashLoop),
    [false, false, false, false, true, true, true],
  )
  t.deepEqual(
    delays.map(({ failures }) => failures),
    [1, 2, 3, 4, 5, 6, 7],
  )
})

test('an exit after minUptime resets the count of quick exits', (t) => {
  const policy = new RestartPolicy(SETTINGS)
  for (let i = 0; i < 6; i++) policy.exited(undefined, 0)
  t.is(policy.exited(2001, 0).delay, 0)
  t.deepEqual(policy.exited(undefined, 0), { delay: 200, failures: 1, isCrashLoop: false })
})

test('a shortage of system resources is not a crash loop and is retried every second', (t) => {
  const policy = new RestartPolicy(SETTINGS)
  for (let i = 0; i < 40; i++) t.deepEqual(policy.lackedResources(0), { delay: 1000, failures: 0, isCrashLoop: false })
  t.deepEqual(policy.exited(undefined, 0), { delay: 200, failures: 1, isCrashLoop: false })
  t.is(policy.lackedResources(0.999999).delay, 750)
})

test('retries during a shortage respect minDelay and maxDelay', (t) => {
  t.is(new RestartPolicy({ ...SETTINGS, maxDelay: 300 }).lackedResources(0).delay, 300)
  t.is(new RestartPolicy({ ...SETTINGS, minDelay: 5000 }).lackedResources(0).delay, 5000)
})

test('only a start that failed for lack of descriptors, processes or memory is a shortage', (t) => {
  const failed = (code: string): Error => Object.assign(new Error(code), { code })
  const exited = (cause: Error, exitCode?: number): Error =>
    new SocketServerError('ERR_SOCKETSERVER_WORKER_EXITED', 'exited', { cause, exitCode })
  for (const code of ['EMFILE', 'ENFILE', 'EAGAIN', 'ENOMEM', 'ERR_WORKER_INIT_FAILED']) {
    t.true(isShortage(failed(code)), code)
    t.true(isShortage(exited(failed(code))), `${code} of a process that was not spawned`)
  }
  t.true(isShortage(exited(failed('ERR_WORKER_INIT_FAILED'), 1)), 'a thread that could not be set up')
  t.false(isShortage(failed('ENOENT')))
  t.false(isShortage(exited(failed('ENOENT'))))
  t.false(isShortage(exited(failed('EMFILE'), 1)), 'a worker that ran')
})

test('jitter shortens a delay by up to a quarter, and no delay exceeds maxDelay', (t) => {
  const uptimes = fc.array(fc.option(fc.nat({ max: 4000 }), { nil: undefined }), { maxLength: 40 })
  const jitter = fc.double({ min: 0, max: 0.999999, noNaN: true })
  fc.assert(
    fc.property(uptimes, jitter, (exits, random) => {
      const [jittered, full] = [new RestartPolicy(SETTINGS), new RestartPolicy(SETTINGS)]
      for (const uptime of exits) {
        const { delay } = jittered.exited(uptime, random)
        const { delay: longest } = full.exited(uptime, 0)
        if (delay > longest || delay < Math.floor(longest * 0.75) || longest > SETTINGS.maxDelay) return false
      }
      return true
    }),
  )
  t.pass()
})
