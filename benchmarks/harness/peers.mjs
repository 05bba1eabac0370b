// The servers that are compared, called peers.

import { fileURLToPath } from 'node:url'
import { environment } from '../peers/settings.mjs'

/**
 * @typedef {object} Peer
 * @property {string} name
 * @property {string} label
 * @property {number} workers
 * @property {(options: import('./options.mjs').Options, port: number) => { command: string, args: string[] }} command
 * @property {NodeJS.ProcessEnv} env
 * @property {boolean} [takesPort] whether the peer needs a port, and reports that it is ready before it listens
 */

/** @typedef {import('../peers/settings.mjs').PeerSettings} PeerSettings */
/** @typedef {Omit<PeerSettings, 'kind' | 'scheduling'>} Wanted settings that apply to every peer */

/**
 * Returns a peer that is a Node program.
 *
 * @param {string} name
 * @param {string} label
 * @param {string} file in `peers/`
 * @param {PeerSettings} settings
 * @returns {Peer}
 */
function program(name, label, file, settings) {
  const path = fileURLToPath(new URL(`../peers/${file}`, import.meta.url))
  const { workers } = settings
  return { name, label, workers, env: environment(settings), command: ({ node }) => ({ command: node, args: [path] }) }
}

export const peers = {
  single: (/** @type {Wanted} */ wanted) =>
    program('single', 'one Node process', 'single.mjs', { ...wanted, workers: 1 }),
  roundRobin: (/** @type {Wanted} */ wanted) =>
    program('round-robin', 'cluster SCHED_RR', 'cluster.mjs', { ...wanted, scheduling: 'rr' }),
  shared: (/** @type {Wanted} */ wanted) =>
    program('shared', 'cluster SCHED_NONE', 'cluster.mjs', { ...wanted, scheduling: 'none' }),
  reusePort: (/** @type {Wanted} */ wanted) => program('reuse-port', 'reusePort', 'reuse-port.mjs', wanted),
  processes: (/** @type {Wanted} */ wanted) =>
    program('processes', 'socketserver, processes', 'socketserver.mjs', { ...wanted, kind: 'fork' }),
  first: (/** @type {Wanted} */ wanted) =>
    program('first', 'socketserver, policy first', 'socketserver.mjs', { ...wanted, kind: 'fork', policy: 'first' }),
  threads: (/** @type {Wanted} */ wanted) =>
    program('threads', 'socketserver, threads', 'socketserver.mjs', { ...wanted, kind: 'threads' }),

  /**
   * Supports short connections only.
   *
   * @param {Wanted} wanted
   * @returns {Peer}
   */
  socketservertcl: ({ workers }) => ({
    name: 'socketservertcl',
    label: 'socketservertcl',
    workers,
    env: process.env,
    takesPort: true,
    command: (_, port) => ({
      command: 'tclsh',
      args: [fileURLToPath(new URL('../peers/socketservertcl.tcl', import.meta.url)), String(port), String(workers)],
    }),
  }),
}

/**
 * Returns whether this Node has the option `reusePort` and this kernel distributes connections between the listeners.
 *
 * @param {import('./options.mjs').Options} options
 */
export function hasReusePort({ version }) {
  return process.platform === 'linux' && version.localeCompare('22.12.0', 'en', { numeric: true }) >= 0
}
