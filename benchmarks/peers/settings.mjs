// How a peer's processes learn what they are to be: in the environment, which reaches every kind of worker alike.

/**
 * What one run asks of a peer; see `peers/start.mjs` for its side.
 *
 * @typedef {object} PeerSettings
 * @property {'short' | 'hold' | 'service' | 'http'} behaviour what is done with a connection
 * @property {number} workers processes or threads that answer
 * @property {'fork' | 'threads'} [kind] ours: what a worker is
 * @property {'least-busy' | 'round-robin' | 'first'} [policy] ours: who gets the next connection
 * @property {number} [maxQueue] ours: connections that may wait
 * @property {'rr' | 'none'} [scheduling] cluster: its scheduling policy
 * @property {boolean} [oneAtATime] whether a worker serves one connection at a time
 * @property {number} [stuck] milliseconds for which the first worker blocks its event loop, again and again
 * @property {string} [records] folder in which each worker leaves how long its services took
 * @property {number} [seed] of the services' lengths
 */

const NAME = 'BENCHMARK_PEER'

/** @returns {PeerSettings} */
export function settings() {
  return JSON.parse(process.env[NAME] ?? '{}')
}

/**
 * The environment by which a process, or one of its workers, gets these settings.
 *
 * @param {PeerSettings} given
 */
export function environment(given) {
  return { ...process.env, [NAME]: JSON.stringify(given) }
}
