// An event loop that is stuck.

/**
 * Blocks this thread's event loop for so many milliseconds, ten times a second. It sleeps as a synchronous call to a slow
 * disk does: a loop that burns its core would take the time from the other workers, and measure the scheduler.
 *
 * @param {number} milliseconds
 */
export function getStuck(milliseconds) {
  const nobody = new Int32Array(new SharedArrayBuffer(4))
  setInterval(() => Atomics.wait(nobody, 0, 0, milliseconds), TENTH_OF_A_SECOND).unref()
}

const TENTH_OF_A_SECOND = 100
