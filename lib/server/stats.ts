import type { WorkerState } from './worker-handle.js'

/** A plain snapshot of a server. Counters only grow. */
export interface ServerStats {
  /** Connections accepted so far. */
  accepted: number
  /** Handoffs that a worker has acknowledged so far. */
  handedOff: number
  /** Times a connection went back to the queue, as its worker died, refused it or did not take it in time. */
  requeued: number
  /** Connections so far that a worker had taken and handed back; each is handed off once more. */
  handedBack: number
  /** Connections given up so far: they waited for longer than `queueTimeout`, or were waiting at `destroy()`. */
  shed: number
  /** Connections that wait for a worker now. */
  queued: number
  /** The most that ever waited at once. */
  maxQueued: number
  /** Connections that workers hold now. */
  leases: number
  /** Workers that are connected now. */
  workers: number
  /** Programs so far that connected to a shared path and were not let in. */
  refused: number
  /** Workers by state; those that have exited are not counted. */
  states: Record<Exclude<WorkerState, 'exited'>, number>
  /** Workers started so far in the place of one that had exited. */
  restarts: number
  /** Reloads begun so far, over all pools. */
  reloads: number
  /** Stalls told of so far. */
  stalls: number
  /** Connections so far that ended because their worker did. */
  cut: number
  /** Whether accepting pauses now, as the queue is full or the process is out of descriptors. */
  paused: boolean
  /** Milliseconds from accept to handoff. */
  waitMs: { p50: number; p99: number; max: number }
  /** Failed accepts so far, by the system's code. */
  acceptErrors: Record<string, number>
}

/** How a drain ended. */
export interface DrainResult {
  /** Whether nothing waits and no worker holds a connection any more. */
  complete: boolean
  /** Connections that still wait for a worker. */
  queued: number
  /** Connections that workers still hold. */
  leases: number
}

/** A connection that was given up before a worker had it. */
export interface ShedInfo {
  /** The connection's id, as workers see it too. */
  id: number
  /** `timeout`: it waited for longer than `queueTimeout`. `destroyed`: it waited when the server was destroyed. */
  reason: 'timeout' | 'destroyed'
  /** Undefined for a connection to a Unix socket, as are both ports. */
  remoteAddress: string | undefined
  remotePort: number | undefined
  localPort: number | undefined
  /** Milliseconds it had waited. */
  waited: number
}

/** What connected to a shared path and was not let in. */
export interface RefusedInfo {
  /** Where. */
  path: string
  /** Undefined if the system does not say. */
  pid: number | undefined
  uid: number | undefined
  gid: number | undefined
  /**
   * `not-allowed`: its user may not join there. `full`: `maxWorkers` have joined. `late`: it said no hello within
   * `helloTimeout`. `version`: there is no version of the protocol that both speak. `protocol`: what it said first was no hello.
   */
  reason: 'not-allowed' | 'full' | 'late' | 'version' | 'protocol'
  /** The reason in words, with what was expected and what came. */
  message: string
}

/** A worker whose event loop does not turn. */
export interface StallInfo {
  /** Milliseconds since it was last seen to. */
  stalledFor: number
  /** Connections it holds, which get no answer meanwhile. What it had not taken yet has gone to other workers. */
  leases: number
}

/** Connections that ended because their worker did; one that has joined may serve them on, which the server cannot know. */
export interface CutInfo {
  /** How many. */
  connections: number
  /**
   * `exited`: the worker exited or died while it held them. `timeout`: it had been told to leave and did not finish them in
   * time. `protocol`: its channel broke the protocol and was ended.
   */
  reason: 'exited' | 'timeout' | 'protocol'
}
