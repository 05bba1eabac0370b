// Requests and responses on the control socket.

import type { ServerResponse } from 'node:http'
import type { ListenAddress } from '../../address.js'
import type { ServerStats } from '../../server/stats.js'
import type { WorkerState } from '../../server/worker/worker-handle.js'

/** Handlers by method and path: `GET /status`. */
export type ControlHandlers = Readonly<
  Record<string, (response: ServerResponse, parameters: URLSearchParams) => void | Promise<void>>
>

/** The body of a response with an error. */
export interface ControlError {
  error: string
  exitCode: number
}

/** `GET /status`, and `socketserver status --json`. */
export interface Status {
  name: string
  pid: number
  /** ISO 8601. */
  startedAt: string
  listeners: ListenAddress[]
  workers: WorkerStatus[]
  stats: ServerStats
}

export interface WorkerStatus {
  slot: number | null
  id: number
  /** Null for a thread. */
  pid: number | null
  generation: number
  state: WorkerState
  /** When the worker entered its state, ISO 8601. */
  since: string
  leases: number
  handled: number
  restarts: number
  /** The share of time in which the event loop was busy, 0 to 1. Null if unknown, as for a new worker. */
  eventLoopUtilization: number | null
  /** Resident memory in bytes. Null for a thread, and if unknown. */
  memory: number | null
}

/** `POST /reload` and `POST /scale`. */
export interface Changed {
  workers: number
  generation: number
}

/** `POST /stop`: sent when the server has closed. */
export interface Stopped {
  /** Connections that were cut. */
  cut: number
}
