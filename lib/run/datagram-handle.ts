// Uses Node's internal UDP handles. Node does not document them, so each member is checked before its use.

import { closeSync } from 'node:fs'

/** The used members of the `UDP` handle of a `dgram` socket. */
interface DatagramHandle {
  /** Adopts a descriptor. Returns a negative system error number on failure. */
  open(fd: number): number | undefined
  close(callback?: () => void): void
}

/**
 * Returns a handle for descriptor `fd` with the constructor of the handle of `socket`, or a negative system error number. The handle
 * calls `closed` when it is closed. On success, the handle owns the descriptor. On failure, this function closes the descriptor.
 */
export function datagramHandle(socket: object, fd: number, closed: () => void): DatagramHandle | number {
  const made = newHandle(socket)
  const error = made?.open(fd) ?? (made === undefined ? ENOTSUP : 0)
  if (made === undefined || error < 0) {
    closeSync(fd)
    return error
  }
  const close = made.close.bind(made)
  return Object.assign(made, {
    close: (callback?: () => void) => {
      closed()
      close(callback)
    },
  })
}

function newHandle(socket: object): DatagramHandle | undefined {
  const key = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'state symbol')
  const state: unknown = key === undefined ? undefined : Reflect.get(socket, key)
  const handle: unknown = typeof state === 'object' && state !== null ? Reflect.get(state, 'handle') : undefined
  if (typeof handle !== 'object' || handle === null) return undefined
  const made: unknown = Reflect.construct(handle.constructor, [])
  return isDatagramHandle(made) ? made : undefined
}

function isDatagramHandle(value: unknown): value is DatagramHandle {
  if (typeof value !== 'object' || value === null) return false
  return ['open', 'close', 'bind', 'recvStart'].every((name) => typeof Reflect.get(value, name) === 'function')
}

/** The value differs between Linux and macOS. Node maps both values to the name `ENOTSUP`. */
const ENOTSUP = process.platform === 'darwin' ? -45 : -95
