import { access } from 'node:fs'

/**
 * Makes libuv create the threads of its pool, which otherwise happens at the first use. New threads inherit the scheduling policy
 * forever, and a worker at a high accept rate runs as SCHED_BATCH (sched(7)).
 */
export function startThreadPool(): void {
  if (process.platform === 'linux') access('/', () => {})
}
