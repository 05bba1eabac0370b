import type { WorkerState } from './worker/worker-handle.js'

/** A snapshot of the counters of a server. Totals only grow. */
export interface ServerStats {
  /** Connections accepted so far. */
  accepted: number
  /** Handoffs that a worker has acknowledged so far. */
  handedOff: number
  /** Returns to the queue so far, because the worker died, refused the connection or did not take it in time. */
  requeued: number
  /** Connections handed back by workers so far; each is handed off again. */
  handedBack: number
  /** Connections reset before a worker took them: they waited longer than `queueTimeout`, or waited at `destroy()`. */
  shed: number
  /** Connections that wait for a worker now. */
  queued: number
  /** The most connections that waited at one time. */
  maxQueued: number
  /** Connections that workers hold now. */
  leases: number
  /** Workers that are connected now. */
  workers: number
  /** Programs that were refused at a shared path so far. */
  refused: number
  /** Workers by state; exited workers are not counted. */
  states: Record<Exclude<WorkerState, 'exited'>, number>
  /** Workers started so far to replace one that exited. */
  restarts: number
  /** Reloads started so far, over all pools. */
  reloads: number
  /** Stalls reported so far. */
  stalls: number
  /** Connections that ended because their worker did, so far. */
  cut: number
  /** Whether accepting pauses now: the queue is full or the process is out of descriptors. */
  paused: boolean
  /** Milliseconds from accept to handoff, over the life of the server. */
  waitMs: { p50: number; p99: number; max: number }
  /** Failed accepts so far, by system error code. */
  acceptErrors: Record<string, number>
  /** Connections of listeners with routing options, by result; docs/routing.md lists the results. */
  routed: Record<string, number>
}

/** The result of a drain. */
export interface DrainResult {
  /** Whether the queue is empty and no worker holds a connection. */
  complete: boolean
  /** Connections that still wait for a worker. */
  queued: number
  /** Connections that workers still hold. */
  leases: number
}

/** A connection that was reset before a worker took it. */
export interface ShedInfo {
  /** The id of the connection, the same in the parent and in workers. */
  id: number
  /** `timeout`: it waited for longer than `queueTimeout`. `destroyed`: it waited when the server was destroyed. */
  reason: 'timeout' | 'destroyed'
  /** The client's address; undefined on a Unix socket. */
  remoteAddress: string | undefined
  /** The client's port; undefined on a Unix socket. */
  remotePort: number | undefined
  /** The listener's port; undefined on a Unix socket. */
  localPort: number | undefined
  /** Milliseconds that the connection waited. */
  waited: number
}

/** A program that was refused at a shared path. */
export interface RefusedInfo {
  /** The shared path. */
  path: string
  /** The process id; undefined if the system does not report one. */
  pid: number | undefined
  /** The user id; undefined if the system does not report one. */
  uid: number | undefined
  /** The group id; undefined if the system does not report one. */
  gid: number | undefined
  /**
   * `not-allowed`: the user may not join. `full`: `maxWorkers` workers have joined. `late`: no HELLO within `helloTimeout`.
   * `version`: no common version of the protocol. `protocol`: the first frame was not a HELLO.
   */
  reason: 'not-allowed' | 'full' | 'late' | 'version' | 'protocol'
  /** The reason as a sentence, with the expected and the received value. */
  message: string
}

/** A stall: a worker's event loop is blocked. */
export interface StallInfo {
  /** Milliseconds since the event loop last turned. */
  stalledFor: number
  /** Connections that the worker holds, which get no response meanwhile. Untaken connections have gone to other workers. */
  leases: number
}

/** Connections that ended because their worker did. A worker that joined may keep serving them; the server cannot know. */
export interface CutInfo {
  /** The number of connections. */
  connections: number
  /**
   * `exited`: the worker exited while it held them. `timeout`: the retired worker did not finish them in time. `protocol`: the
   * worker broke the protocol and lost its channel.
   */
  reason: 'exited' | 'timeout' | 'protocol'
}
