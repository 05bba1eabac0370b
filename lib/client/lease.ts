import type { Socket } from 'node:net'

/**
 * Calls `over` once, when the lease of a socket is over: at `close`, or, for a socket that a handler has in its hands,
 * already at `finish`, when everything it had to say has been sent.
 */
export function leaseUntil(event: 'close' | 'finish', socket: Socket, over: () => void): void {
  if (event === 'close') {
    // It comes once, so this is `once` without its wrapper.
    socket.on('close', over)
    return
  }
  const once = (): void => {
    socket.off('finish', once)
    socket.off('close', once)
    over()
  }
  socket.once('finish', once)
  socket.once('close', once)
}
