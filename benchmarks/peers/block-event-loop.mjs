/**
 * Blocks this thread's event loop for a time, ten times per second. The thread sleeps, as in a synchronous call to a slow
 * disk: a busy loop would take CPU time from the other workers.
 *
 * @param {number} milliseconds
 */
export function blockEventLoop(milliseconds) {
  const neverNotified = new Int32Array(new SharedArrayBuffer(4))
  setInterval(() => Atomics.wait(neverNotified, 0, 0, milliseconds), INTERVAL).unref()
}

/** Milliseconds. */
const INTERVAL = 100
