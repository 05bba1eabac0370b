import type { Socket } from 'node:net'
import { firstWords } from './first-words.js'

/** In a fixture: answers one line as socketserver-load expects, `<worker> <token>`, after a delay in milliseconds. */
export async function answerToken(socket: Socket, delay = 0): Promise<void> {
  const token = await firstWords(socket)
  if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay))
  socket.end(`${process.pid} ${token}\n`)
}
