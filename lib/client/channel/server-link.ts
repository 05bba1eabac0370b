// Runs in a WORKER: a client's view of its server.

import type { WorkerSettings } from '../../worker-settings.js'

/** The server of a client: the parent that started this worker, or the server that shares a path. */
export interface ServerLink {
  readonly settings: WorkerSettings
  /** Whether the worker joins the next server when this one has gone. */
  readonly rejoins: boolean
  /** Reports that the worker is ready. */
  ready(): void
  /** Records that the client of a port takes no more connections. */
  left(port: number): void
}
