import type { Socket } from 'node:net'

/** In a fixture: returns the first data of a client; empty if the client disconnects without sending. */
export function firstWords(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.on('error', () => {})
    socket.once('data', (data) => resolve(data.toString().trim()))
    socket.once('close', () => resolve(''))
  })
}
