// What a parent tells a worker at its start, beside its channel. Written in server/, read in client/connect.ts.

import type { ListenAddress } from './address.js'
import { CHANNEL_VARIABLE } from './channel-variable.js'

/** The environment variable with a {@link WorkerSettings} as JSON. A worker that finds none has the defaults. */
export const SETTINGS_VARIABLE = 'SOCKETSERVER_SETTINGS'

/** How a worker is to behave towards the server that started it. */
export interface WorkerSettings {
  /** The worker's id within its server. */
  id: number
  /** The worker's slot within its pool. */
  slot: number
  /** The worker's generation within its pool. */
  generation: number
  /** The absolute path of the file that the worker runs. */
  entry: string
  /** Whether it lives in a thread of its parent's process: then the channel's descriptor stays the parent's. */
  isThread: boolean
  /** Whether it says by itself when it is ready. */
  isReadyManual: boolean
  /** Milliseconds it may take to finish its leases when its parent has died; 0 is for ever. */
  drainTimeout: number
  /** Milliseconds its process may take to exit after that. */
  killTimeout: number
  /** Milliseconds between two signs of its event loop; 0 is none. */
  beat: number
  /** Whether SIGINT and SIGTERM are its parent's business, as a terminal or systemd sends them to every process. */
  ignoreSignals: boolean
  /** The descriptor with its parent's standard error, which it is to have back as its own once it has connected; 0 is none. */
  keptStderr: number
  /** Where its server listened when the worker was started. */
  listeners: readonly ListenAddress[]
}

export const DEFAULT_SETTINGS: WorkerSettings = {
  id: 0,
  slot: 0,
  generation: 0,
  entry: '',
  isThread: false,
  isReadyManual: false,
  drainTimeout: 30_000,
  killTimeout: 5000,
  beat: 0,
  ignoreSignals: false,
  keptStderr: 0,
  listeners: [],
}

/** An environment for a worker with these settings, whose channel is at descriptor `fd` there. */
export function workerEnvironment(env: NodeJS.ProcessEnv, fd: number, settings: WorkerSettings): NodeJS.ProcessEnv {
  return { ...env, [CHANNEL_VARIABLE]: String(fd), [SETTINGS_VARIABLE]: JSON.stringify(settings) }
}

/** Reads settings; what is missing or of another type is as by default, so that versions may differ. */
export function readSettings(text: string | undefined): WorkerSettings {
  const given: unknown = text === undefined ? undefined : JSON.parse(text)
  if (typeof given !== 'object' || given === null) return DEFAULT_SETTINGS
  return {
    id: field(given, 'id', DEFAULT_SETTINGS.id),
    slot: field(given, 'slot', DEFAULT_SETTINGS.slot),
    generation: field(given, 'generation', DEFAULT_SETTINGS.generation),
    entry: field(given, 'entry', DEFAULT_SETTINGS.entry),
    isThread: field(given, 'isThread', DEFAULT_SETTINGS.isThread),
    isReadyManual: field(given, 'isReadyManual', DEFAULT_SETTINGS.isReadyManual),
    drainTimeout: field(given, 'drainTimeout', DEFAULT_SETTINGS.drainTimeout),
    killTimeout: field(given, 'killTimeout', DEFAULT_SETTINGS.killTimeout),
    beat: field(given, 'beat', DEFAULT_SETTINGS.beat),
    ignoreSignals: field(given, 'ignoreSignals', DEFAULT_SETTINGS.ignoreSignals),
    keptStderr: field(given, 'keptStderr', DEFAULT_SETTINGS.keptStderr),
    listeners: readListeners(Reflect.get(given, 'listeners')),
  }
}

function readListeners(given: unknown): ListenAddress[] {
  return Array.isArray(given) ? given.filter(isListenAddress) : []
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
