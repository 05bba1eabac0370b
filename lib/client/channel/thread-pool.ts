import { access } from 'node:fs'

/**
 * Has libuv make the threads of its pool, which it does at their first use. They inherit how the thread runs that uses them
 * first, and keep it: one that waits its turn, as connections come fast (SCHED_BATCH, sched(7)), would have them do so for good.
 */
export function startThreadPool(): void {
  if (process.platform === 'linux') access('/', () => {})
}
