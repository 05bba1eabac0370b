// The settings that a parent passes to a worker at its start. Written in server/, read in client/connect.ts.

import type { ListenAddress } from './address.js'
import { CHANNEL_VARIABLE } from './channel-variable.js'

/** The environment variable with {@link WorkerSettings} as JSON. Without it a worker uses the defaults. */
export const SETTINGS_VARIABLE = 'SOCKETSERVER_SETTINGS'

/** The condition that makes a worker of `server.run()` ready: it listens, it sends the message `ready`, or it has been started. */
export type ReadyWhen = 'listen' | 'message' | 'start'

export const READY_WHEN: readonly ReadyWhen[] = ['listen', 'message', 'start']

/** The identity of a worker, and how it behaves towards the server that started it. */
export interface WorkerSettings {
  /** The worker's id within its server. */
  id: number
  /** Names the server among those of the parent's process. */
  server: string
  /** The worker's slot within its pool. */
  slot: number
  /** The worker's slot within its server: 65536 times the number of the pool, plus the slot. Session ids name it. */
  routedSlot: number
  /** The key of session ids, 16 bytes in base64; empty is none. */
  sessionKey: string
  /** The worker's generation within its pool. */
  generation: number
  /** The absolute path of the file that the worker runs. */
  entry: string
  /** Whether the worker is a thread of the parent's process. Then the parent owns the channel's descriptor. */
  isThread: boolean
  /** Whether the worker becomes ready by `client.ready()`, not by connecting. */
  isReadyManual: boolean
  /** The descriptor of the listen channel of a worker that `server.run()` started; 0 is none. */
  listenChannel: number
  /** The condition that makes such a worker ready; empty for other workers. */
  readyWhen: ReadyWhen | ''
  /** Milliseconds that the worker has to finish its leases after its parent's death; 0 means no limit. */
  drainTimeout: number
  /** Milliseconds that the worker's process has to exit after that. */
  killTimeout: number
  /** Milliseconds between two heartbeats of the event loop, for `stallTimeout`; 0 means none. */
  beat: number
  /** Whether the worker leaves SIGINT and SIGTERM to its parent: a terminal and systemd send them to every process. */
  ignoreSignals: boolean
  /** A copy of the parent's standard error, which the worker restores once it has connected; 0 means none. */
  keptStderr: number
  /** The addresses at which the server listened when the worker was started. The channel brings later ones. */
  listeners: readonly ListenAddress[]
  /** The listeners that the server has adopted by `listen({ fd })`. */
  adopted: readonly AdoptedListener[]
}

/** A listener that a server has adopted. */
export interface AdoptedListener {
  /** The number of the descriptor in the server's process. */
  fd: number
  address: ListenAddress
}

/** The settings of a worker that no server started, and of one whose parent is of another version. */
export const DEFAULT_SETTINGS: WorkerSettings = {
  id: 0,
  server: '',
  slot: 0,
  routedSlot: 0,
  sessionKey: '',
  generation: 0,
  entry: '',
  isThread: false,
  isReadyManual: false,
  listenChannel: 0,
  readyWhen: '',
  drainTimeout: 30_000,
  killTimeout: 5000,
  beat: 0,
  ignoreSignals: false,
  keptStderr: 0,
  listeners: [],
  adopted: [],
}

/** Returns the environment of a worker with these settings and with its channel at descriptor `fd`. */
export function workerEnvironment(env: NodeJS.ProcessEnv, fd: number, settings: WorkerSettings): NodeJS.ProcessEnv {
  return { ...env, [CHANNEL_VARIABLE]: String(fd), [SETTINGS_VARIABLE]: JSON.stringify(settings) }
}

/** Parses settings. A missing field, or one of another type, gets its default, so that the versions may differ. */
export function readSettings(text: string | undefined): WorkerSettings {
  const given: unknown = text === undefined ? undefined : JSON.parse(text)
  if (typeof given !== 'object' || given === null) return DEFAULT_SETTINGS
  return {
    id: field(given, 'id', DEFAULT_SETTINGS.id),
    server: field(given, 'server', DEFAULT_SETTINGS.server),
    slot: field(given, 'slot', DEFAULT_SETTINGS.slot),
    routedSlot: field(given, 'routedSlot', DEFAULT_SETTINGS.routedSlot),
    sessionKey: field(given, 'sessionKey', DEFAULT_SETTINGS.sessionKey),
    generation: field(given, 'generation', DEFAULT_SETTINGS.generation),
    entry: field(given, 'entry', DEFAULT_SETTINGS.entry),
    isThread: field(given, 'isThread', DEFAULT_SETTINGS.isThread),
    isReadyManual: field(given, 'isReadyManual', DEFAULT_SETTINGS.isReadyManual),
    listenChannel: field(given, 'listenChannel', DEFAULT_SETTINGS.listenChannel),
    readyWhen: readReadyWhen(Reflect.get(given, 'readyWhen')),
    drainTimeout: field(given, 'drainTimeout', DEFAULT_SETTINGS.drainTimeout),
    killTimeout: field(given, 'killTimeout', DEFAULT_SETTINGS.killTimeout),
    beat: field(given, 'beat', DEFAULT_SETTINGS.beat),
    ignoreSignals: field(given, 'ignoreSignals', DEFAULT_SETTINGS.ignoreSignals),
    keptStderr: field(given, 'keptStderr', DEFAULT_SETTINGS.keptStderr),
    listeners: readList(Reflect.get(given, 'listeners'), isListenAddress),
    adopted: readList(Reflect.get(given, 'adopted'), isAdopted),
  }
}

function readReadyWhen(given: unknown): ReadyWhen | '' {
  return READY_WHEN.find((known) => known === given) ?? ''
}

function readList<T>(given: unknown, isItem: (item: unknown) => item is T): T[] {
  return Array.isArray(given) ? given.filter(isItem) : []
}

function isAdopted(value: unknown): value is AdoptedListener {
  if (typeof value !== 'object' || value === null) return false
  return typeof Reflect.get(value, 'fd') === 'number' && isListenAddress(Reflect.get(value, 'address'))
}

function isListenAddress(value: unknown): value is ListenAddress {
  if (typeof value !== 'object' || value === null) return false
  if ('path' in value) return typeof value.path === 'string'
  if (!('address' in value && 'port' in value && 'family' in value)) return false
  const isFamily = value.family === 'IPv4' || value.family === 'IPv6'
  return isFamily && typeof value.address === 'string' && typeof value.port === 'number'
}

function field(given: object, name: string, fallback: number): number
function field(given: object, name: string, fallback: boolean): boolean
function field(given: object, name: string, fallback: string): string
function field(given: object, name: string, fallback: number | boolean | string): unknown {
  const value: unknown = Reflect.get(given, name)
  return typeof value === typeof fallback ? value : fallback
}
