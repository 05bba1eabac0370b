import { invalidType, invalidValue, outOfRange } from '../errors.js'
import { integer, optionsObject, signal } from '../validate.js'
import { descriptorNumber } from './descriptor-source.js'

/** Options of `DescriptorStream.connect()`. */
export interface DescriptorConnectOptions {
  /** Aborting the signal cancels a `connect()` that waits because the listener's backlog is full. */
  signal?: AbortSignal | undefined
}

/** Options of `DescriptorListener.accept()`. */
export interface DescriptorAcceptOptions {
  /** Aborting the signal cancels the call, which rejects with an AbortError. */
  signal?: AbortSignal | undefined
}

/** Options of `DescriptorStream.receive()`. */
export interface ReceiveOptions {
  /** The most bytes to receive, 1 to 1048576. Default 65536. */
  size?: number | undefined
  /** Aborting the signal cancels the call, which rejects with an AbortError. No data is lost. */
  signal?: AbortSignal | undefined
}

/** Options of `DescriptorListener.listen()`. */
export interface DescriptorListenOptions {
  /** The permissions of the socket file; write permission allows connecting. Default 0o600. Ignored for abstract names. */
  mode?: number | undefined
  /** The kernel's queue of streams that have not been accepted, the argument of listen(2). Default 511. */
  backlog?: number | undefined
}

/** The most descriptors in one `send()`: SCM_MAX_FD of Linux. */
export const MAX_DESCRIPTORS = 253

/** Validates options that consist of a signal, and returns the signal. */
export function parseSignal(options: { signal?: AbortSignal | undefined }): AbortSignal | undefined {
  optionsObject('options', options, ['signal'])
  return signal('options.signal', options.signal)
}

/** Validates the options of `receive()` and adds the defaults. */
export function parseReceiveOptions(options: ReceiveOptions): { size: number; signal: AbortSignal | undefined } {
  optionsObject('options', options, ['size', 'signal'])
  const { size = 65_536 } = options
  return { size: integer('options.size', size, 1, 2 ** 20), signal: signal('options.signal', options.signal) }
}

/** Validates the options of `DescriptorListener.listen()` and adds the defaults. */
export function parseListenOptions(options: DescriptorListenOptions): { mode: number; backlog: number } {
  optionsObject('options', options, ['mode', 'backlog'])
  const { mode = 0o600, backlog = 511 } = options
  return {
    mode: integer('options.mode', mode, 0, 0o777),
    backlog: integer('options.backlog', backlog, 0, 2 ** 31 - 1),
  }
}

/** Validates the arguments of `send()`. Returns the bytes and the descriptor numbers, which the caller still owns. */
export function parseMessage(data: unknown, descriptors: unknown): { bytes: Uint8Array; numbers: number[] } {
  const bytes = bytesOf(data)
  if (!Array.isArray(descriptors)) throw invalidType('descriptors', 'an instance of Array', descriptors)
  if (descriptors.length > MAX_DESCRIPTORS) {
    throw outOfRange('descriptors.length', `<= ${MAX_DESCRIPTORS}`, descriptors.length)
  }
  if (bytes.length === 0 && descriptors.length > 0) {
    throw invalidValue('data', data, 'must have at least one byte if descriptors are sent')
  }
  const numbers = descriptors.map((source: unknown, index) => descriptorNumber(`descriptors[${index}]`, source))
  return { bytes, numbers }
}

function bytesOf(data: unknown): Uint8Array {
  if (typeof data === 'string') return Buffer.from(data)
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  throw invalidType('data', 'of type string or an instance of Buffer, TypedArray, or DataView', data)
}
