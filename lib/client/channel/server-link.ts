// Runs in a WORKER: what a client knows of the server it works for.

import type { SocketServerError } from '../../errors.js'
import type { WorkerSettings } from '../../worker-settings.js'
import type { Client } from '../client.js'

/** A server that a client works for: the parent that started this worker, or whichever shares a path. */
export interface ServerLink {
  readonly settings: WorkerSettings
  /** Whether there is a next server when this one has gone. */
  readonly rejoins: boolean
  /** The worker says that it is ready. */
  ready(): void
  /** A client takes nothing any more. */
  left(client: Client): void
}

/** What goes with a client's `joined` event. */
export interface JoinedInfo {
  /** Where. */
  path: string
  /** How often this process has joined there before. */
  rejoined: number
}

/** What goes with a client's `lost` event. */
export interface LostInfo {
  /** Where. */
  path: string
  /**
   * Why: the system's code of a failed `connect` (ENOENT, ECONNREFUSED ...), ERR_SOCKETSERVER_CONNECTION_LOST if the server has
   * died or ended the channel, ERR_SOCKETSERVER_CLOSED if it has retired this worker, ERR_SOCKETSERVER_REFUSED if it has no
   * room now, ERR_SOCKETSERVER_PROTOCOL if one side broke the protocol.
   */
  error: SocketServerError
  /** Milliseconds until it is tried again. */
  delay: number
  /** Tries in a row that came to nothing, or to less than a second; 1 is the first. */
  failures: number
}
