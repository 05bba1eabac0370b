import { invalidType, invalidValue, outOfRange } from '../errors.js'
import { integer, optionsObject, signal } from '../validate.js'
import { descriptorNumber } from './descriptor-source.js'

export interface DescriptorConnectOptions {
  /** Aborting it gives up a connection that waits because the listener's backlog is full. */
  signal?: AbortSignal | undefined
}

export interface DescriptorAcceptOptions {
  /** Aborting it withdraws the call, which rejects with an AbortError. */
  signal?: AbortSignal | undefined
}

export interface ReceiveOptions {
  /** The most bytes to receive, 1 to 1048576. Default 65536. */
  size?: number | undefined
  /** Aborting it withdraws the call, which rejects with an AbortError; nothing of the stream is lost. */
  signal?: AbortSignal | undefined
}

export interface DescriptorListenOptions {
  /** The permissions of the socket file; whoever may write to it may connect. Default 0o600. Not for abstract names. */
  mode?: number | undefined
  /** The kernel's queue of streams that are not accepted yet, `listen(2)`'s argument. Default 511. */
  backlog?: number | undefined
}

/** The most descriptors that one `send()` takes: what Linux passes at once. */
export const MAX_DESCRIPTORS = 253

/** The signal. */
export function parseSignal(options: { signal?: AbortSignal | undefined }): AbortSignal | undefined {
  optionsObject('options', options)
  return signal('options.signal', options.signal)
}

export function parseReceiveOptions(options: ReceiveOptions): { size: number; signal: AbortSignal | undefined } {
  const abort = parseSignal(options)
  const { size = 65_536 } = options
  return { size: integer('options.size', size, 1, 2 ** 20), signal: abort }
}

export function parseListenOptions(options: DescriptorListenOptions): { mode: number; backlog: number } {
  optionsObject('options', options)
  const { mode = 0o600, backlog = 511 } = options
  return {
    mode: integer('options.mode', mode, 0, 0o777),
    backlog: integer('options.backlog', backlog, 0, 2 ** 31 - 1),
  }
}

/** What is to be sent, as bytes and numbers, both still their owner's. */
export function parseMessage(data: unknown, descriptors: unknown): { bytes: Uint8Array; numbers: number[] } {
  const bytes = bytesOf(data)
  if (!Array.isArray(descriptors)) throw invalidType('descriptors', 'an instance of Array', descriptors)
  if (descriptors.length > MAX_DESCRIPTORS) {
    throw outOfRange('descriptors.length', `<= ${MAX_DESCRIPTORS}`, descriptors.length)
  }
  if (bytes.length === 0 && descriptors.length > 0) {
    throw invalidValue('data', data, 'must have a byte for descriptors to travel with')
  }
  const numbers = descriptors.map((source: unknown, index) => descriptorNumber(`descriptors[${index}]`, source))
  return { bytes, numbers }
}

function bytesOf(data: unknown): Uint8Array {
  if (typeof data === 'string') return Buffer.from(data)
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  throw invalidType('data', 'of type string or an instance of Buffer, TypedArray, or DataView', data)
}
