// The protocol between the benchmark and a peer's main process: the peer prints its port when it is ready, and stops when
// its standard input ends.

import { createInterface } from 'node:readline'

/**
 * Reports that the peer is ready on this port.
 *
 * @param {number} port
 */
export function ready(port) {
  process.stdout.write(`${JSON.stringify({ port })}\n`)
}

/**
 * Calls `stop` when standard input ends: the benchmark has closed it or has exited. Calls `onLine` for each line.
 *
 * @param {() => void} stop
 * @param {() => void} [onLine]
 */
export function onStop(stop, onLine = () => {}) {
  createInterface({ input: process.stdin }).on('line', onLine).on('close', stop)
}
