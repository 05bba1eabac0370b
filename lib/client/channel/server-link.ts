// Runs in a WORKER: a client's view of its server.

import type { SocketServerError } from '../../errors.js'
import type { WorkerSettings } from '../../worker-settings.js'
import type { Client } from '../client.js'

/** The server of a client: the parent that started this worker, or the server that shares a path. */
export interface ServerLink {
  readonly settings: WorkerSettings
  /** Whether the worker joins the next server when this one has gone. */
  readonly rejoins: boolean
  /** Reports that the worker is ready. */
  ready(): void
  /** Records that a client takes no more connections. */
  left(client: Client): void
}

/** The argument of a client's `joined` event. */
export interface JoinedInfo {
  /** The shared path. */
  path: string
  /** How often this process has joined at the path before. */
  rejoined: number
}

/** The argument of a client's `lost` event. */
export interface LostInfo {
  /** The shared path. */
  path: string
  /**
   * The reason: the system's code of a failed `connect` (ENOENT, ECONNREFUSED ...); ERR_SOCKETSERVER_CONNECTION_LOST if the server
   * has died or ended the channel; ERR_SOCKETSERVER_CLOSED if it has retired this worker; ERR_SOCKETSERVER_REFUSED if it is full
   * or did not get a HELLO in time; ERR_SOCKETSERVER_PROTOCOL if one side broke the protocol.
   */
  error: SocketServerError
  /** Milliseconds until the next attempt. */
  delay: number
  /** Attempts in a row, including this one, that failed or whose connection lasted less than a second. */
  failures: number
}
