// Passes a peer's settings to its processes in the environment, which every kind of worker inherits.

/**
 * @typedef {object} PeerSettings
 * @property {'short' | 'head' | 'hold' | 'service' | 'http'} behaviour the connection handler
 * @property {number} workers number of processes or threads
 * @property {'fork' | 'threads'} [kind] socketserver only
 * @property {'least-busy' | 'round-robin' | 'first'} [policy] socketserver only
 * @property {number} [maxQueue] socketserver only
 * @property {'rr' | 'none'} [scheduling] cluster only
 * @property {boolean} [oneAtATime] whether a worker serves one connection at a time
 * @property {number} [stuck] milliseconds for which the first worker blocks its event loop, ten times per second
 * @property {string} [admin] socketserver only: the path of the admin listener
 * @property {import('@socketserver/node').RoutingOptions} [routing] socketserver only: routing options of the listener
 * @property {string} [records] folder for the recorded service times
 * @property {number} [seed] of the service times
 */

const NAME = 'BENCHMARK_PEER'

/**
 * Returns the settings of this process.
 *
 * @returns {PeerSettings}
 */
export function settings() {
  return JSON.parse(process.env[NAME] ?? '{}')
}

/**
 * Returns the environment that passes these settings to a process.
 *
 * @param {PeerSettings} given
 */
export function environment(given) {
  return { ...process.env, [NAME]: JSON.stringify(given) }
}
