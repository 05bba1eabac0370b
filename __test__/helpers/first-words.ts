import type { Socket } from 'node:net'

/** In a fixture: what a client says first; nothing if it leaves without a word. */
export function firstWords(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.on('error', () => {})
    socket.once('data', (data) => resolve(data.toString().trim()))
    socket.once('close', () => resolve(''))
  })
}
