// What can be watched from outside: `NODE_DEBUG=socketserver`, and channels of `node:diagnostics_channel`.

import { channel } from 'node:diagnostics_channel'
import { debuglog } from 'node:util'

/** Writes to stderr under `NODE_DEBUG=socketserver`, and costs a call that does nothing otherwise. */
export const debug = debuglog('socketserver')

/** The diagnostics channels; docs/operating.md says what each message holds. */
export const diagnostics = {
  /** A worker has gone from one state to another: `{ worker, from, to }`. */
  workerState: channel('socketserver:worker:state'),
  /** A worker's event loop has not turned for `stallTimeout`: `{ worker, stalledFor, leases }`. */
  workerStall: channel('socketserver:worker:stall'),
  /** What connected to a shared path was not let in: a `RefusedInfo`. */
  workerRefused: channel('socketserver:worker:refused'),
  /** Connections ended with their worker: `{ worker, connections, reason }`. */
  workerCut: channel('socketserver:worker:cut'),
  /** A worker will be started in the place of one that is gone: `{ entry, generation, delay, failures, error }`. */
  poolRestart: channel('socketserver:pool:restart'),
  /** A reload has begun, or is over: `{ generation, stage, error }`. */
  poolReload: channel('socketserver:pool:reload'),
  /** A connection was given up before a worker had it: a `ShedInfo`. */
  connectionShed: channel('socketserver:connection:shed'),
  /** In a worker: it has taken a connection: a `ConnectionInfo`. */
  connectionTaken: channel('socketserver:connection:taken'),
  /** In a worker: the lease of a connection is over: `{ id }`. */
  connectionOver: channel('socketserver:connection:over'),
} as const
