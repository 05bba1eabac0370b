import type { ExecutionContext } from 'ava'
import { isStopped } from './processes.js'
import { until } from './until.js'

/** Stops a process until the end of the test: a stopped process would not notice that its parent has died. */
export async function stop(t: ExecutionContext, pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP')
  t.teardown(() => {
    try {
      process.kill(pid, 'SIGCONT')
    } catch {
      // The process has exited.
    }
  })
  await until(() => isStopped(pid))
}
