// The ways of serving that are compared.

import { fileURLToPath } from 'node:url'
import { environment } from '../peers/settings.mjs'

/**
 * How to start a peer.
 *
 * @typedef {object} Peer
 * @property {string} name
 * @property {string} label
 * @property {number} workers
 * @property {(options: import('./options.mjs').Options, port: number) => { command: string, args: string[] }} command
 * @property {NodeJS.ProcessEnv} env
 * @property {boolean} [takesPort] whether it has to be told a port, and says that it is ready before it listens there
 */

/** @typedef {import('../peers/settings.mjs').PeerSettings} PeerSettings */
/** @typedef {Omit<PeerSettings, 'kind' | 'scheduling'>} Wanted what is asked of any peer alike */

/**
 * A peer that is a program for Node.
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
    program('processes', 'here, processes', 'ours.mjs', { ...wanted, kind: 'fork' }),
  first: (/** @type {Wanted} */ wanted) =>
    program('first', 'here, processes, policy first', 'ours.mjs', { ...wanted, kind: 'fork', policy: 'first' }),
  threads: (/** @type {Wanted} */ wanted) =>
    program('threads', 'here, threads', 'ours.mjs', { ...wanted, kind: 'threads' }),

  /**
   * Short connections only.
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
 * Whether this Node has `reusePort`, and this system a kernel that spreads connections by it.
 *
 * @param {import('./options.mjs').Options} options
 */
export function hasReusePort({ version }) {
  return process.platform === 'linux' && version.localeCompare('22.12.0', 'en', { numeric: true }) >= 0
}
