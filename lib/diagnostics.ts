// Observability: `NODE_DEBUG=socketserver`, and channels of `node:diagnostics_channel`.

import { channel } from 'node:diagnostics_channel'
import { debuglog } from 'node:util'

/** Logs to standard error under `NODE_DEBUG=socketserver`; otherwise the call does nothing. */
export const debug = debuglog('socketserver')

/** The diagnostics channels. docs/operating.md describes the messages. */
export const diagnostics = {
  /** A worker has changed its state: `{ worker, from, to }`. */
  workerState: channel('socketserver:worker:state'),
  /** A worker's event loop has not turned for `stallTimeout`: `{ worker, stalledFor, leases }`. */
  workerStall: channel('socketserver:worker:stall'),
  /** A program was refused at a shared path: a `RefusedInfo`. */
  workerRefused: channel('socketserver:worker:refused'),
  /** Connections ended with their worker: `{ worker, connections, reason }`. */
  workerCut: channel('socketserver:worker:cut'),
  /** A worker that exited will be replaced: `{ entry, generation, delay, failures, error }`. */
  poolRestart: channel('socketserver:pool:restart'),
  /** A reload has made progress: `{ entry, generation, stage, error }`. */
  poolReload: channel('socketserver:pool:reload'),
  /** A connection was reset before a worker took it: a `ShedInfo`. */
  connectionShed: channel('socketserver:connection:shed'),
  /** In a worker: it has taken a connection. A `ConnectionInfo`. */
  connectionTaken: channel('socketserver:connection:taken'),
  /** In a worker: the lease of a connection has ended. `{ id }`. */
  connectionOver: channel('socketserver:connection:over'),
} as const
