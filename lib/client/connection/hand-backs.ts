import type { Socket } from 'node:net'
import { SocketServerError, systemError } from '../../errors.js'
import type { HandBackRefusal, NativeReceiver } from '../../native.js'
import { lostError } from '../lifecycle/close-errors.js'
import type { ReceivedConnection } from './received-connection.js'

/** The connections that this worker has handed back, until its parent says that it has them. */
export class HandBacks {
  readonly #waiting = new Map<number, Waiting>()

  /** Whether any is on its way. */
  get isEmpty(): boolean {
    return this.#waiting.size === 0
  }

  /** Sends one; resolves when the parent has it. Throws if it stays here. */
  begin(receiver: NativeReceiver, { id, fd }: ReceivedConnection): Promise<void> {
    const refusal = receiver.handBack(id, fd)
    if (refusal !== null) throw refusalError(refusal)
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
  }

  /** Looks what the parent has. */
  settle(receiver: NativeReceiver): void {
    for (const id of receiver.settled()) {
      this.#waiting.get(id)?.resolve()
      this.#waiting.delete(id)
    }
  }

  /** The channel is over: whether the parent has had the others nobody can say. */
  end(): void {
    for (const { reject } of this.#waiting.values()) reject(lostError())
    this.#waiting.clear()
  }
}

/** Throws if anything has been read from a connection or written to it, or if it is not this worker's any more. */
export function assertUntouched(socket: Socket): void {
  const why = useOf(socket)
  if (why === undefined) return
  throw new SocketServerError('ERR_SOCKETSERVER_CONNECTION_USED', `The connection cannot be handed back: ${why}`)
}

function useOf(socket: Socket): string | undefined {
  if (socket.destroyed) return 'its socket is destroyed, or it has been handed back'
  if (socket.bytesRead > 0) return `${socket.bytesRead} bytes of it have been read`
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
