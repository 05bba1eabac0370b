import type { Socket } from 'node:net'
import { SocketServerError, systemError } from '../../errors.js'
import type { HandBackRefusal, NativeReceiver } from '../../native.js'
import { lostError } from '../lifecycle/close-errors.js'
import type { ReceivedConnection } from './received-connection.js'

/** The pending hand-backs of this worker: connections that the parent has not acknowledged yet. */
export class HandBacks {
  readonly #waiting = new Map<number, Waiting>()

  /** Whether no hand-back is pending. */
  get isEmpty(): boolean {
    return this.#waiting.size === 0
  }

  /** Hands a connection back. Resolves when the parent has it. Throws if the connection stays here. */
  begin(receiver: NativeReceiver, { id, fd }: ReceivedConnection): Promise<void> {
    const refusal = receiver.handBack(id, fd)
    if (refusal !== null) throw refusalError(refusal)
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
  }

  /** Resolves the hand-backs that the parent has acknowledged. */
  settle(receiver: NativeReceiver): void {
    for (const id of receiver.settled()) {
      this.#waiting.get(id)?.resolve()
      this.#waiting.delete(id)
    }
  }

  /** Rejects all hand-backs: the channel has ended, and it is unknown which connections the parent has. */
  end(): void {
    for (const { reject } of this.#waiting.values()) reject(lostError())
    this.#waiting.clear()
  }
}

/** Throws ERR_SOCKETSERVER_CONNECTION_USED if a connection was read from, written to, ended, destroyed or handed back. */
export function assertUnused(socket: Socket): void {
  const use = useOf(socket)
  if (use === undefined) return
  throw new SocketServerError('ERR_SOCKETSERVER_CONNECTION_USED', `The connection cannot be handed back: ${use}`)
}

function useOf(socket: Socket): string | undefined {
  if (socket.destroyed) return 'its socket is destroyed, or it was handed back already'
  if (socket.bytesRead > 0) return `${socket.bytesRead} bytes have been read from it`
  if (socket.bytesWritten > 0) return `${socket.bytesWritten} bytes have been written to it`
  if (socket.writableEnded) return 'its socket has been ended'
  return undefined
}

function refusalError({ reason, message, error }: HandBackRefusal): SocketServerError {
  if (reason === 'ended') return lostError()
  if (error !== undefined) return systemError(error, error.syscall)
  const code = reason === 'version' ? 'ERR_SOCKETSERVER_PROTOCOL' : 'ERR_SOCKETSERVER_CONNECTION_USED'
  return new SocketServerError(code, `The connection cannot be handed back: ${message}`)
}

interface Waiting {
  resolve: () => void
  reject: (error: Error) => void
}
