import type { ExecutionContext } from 'ava'
import { isStopped } from './processes.js'
import { until } from './until.js'

/** Stops a process; it continues when the test is over at the latest, as a stopped one would not see its parent die. */
export async function stop(t: ExecutionContext, pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP')
  t.teardown(() => {
    try {
      process.kill(pid, 'SIGCONT')
    } catch {
      // It has gone.
    }
  })
  await until(() => isStopped(pid))
}
