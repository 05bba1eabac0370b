// The words between a peer's main process and the benchmark: one line when it is ready, the end of input to stop.

import { createInterface } from 'node:readline'

/**
 * Says that the peer serves on this port.
 *
 * @param {number} port
 */
export function ready(port) {
  process.stdout.write(`${JSON.stringify({ port })}\n`)
}

/**
 * Calls `stop` when the benchmark has closed this process's standard input, or has died, and `asked` for each line that
 * comes before.
 *
 * @param {() => void} stop
 * @param {() => void} [asked]
 */
export function atEnd(stop, asked = () => {}) {
  createInterface({ input: process.stdin }).on('line', asked).on('close', stop)
}
