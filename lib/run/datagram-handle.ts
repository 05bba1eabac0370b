// Node's own UDP handles, which Node does not document: the little of them that is used here, behind guards.

import { closeSync } from 'node:fs'

/** A `UDP` handle, as a socket of `dgram` has it. */
interface DatagramHandle {
  /** Adopts a descriptor; returns a negative system error number if that fails. */
  open(fd: number): number | undefined
  close(callback?: () => void): void
}

/**
 * Returns a handle on descriptor `fd` of the kind that `socket` has, or a negative system error number. `closed` is called when it is
 * closed. The descriptor is the handle's, or closed.
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

/** Linux and macOS agree on little here; Node says the name of either. */
const ENOTSUP = process.platform === 'darwin' ? -45 : -95
