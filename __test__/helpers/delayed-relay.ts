import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import type { ExecutionContext } from 'ava'

/** A relay of one connection that can hold what the client sends: those bytes are then on their way to the server. */
export interface DelayedRelay {
  port: number
  /** Holds what the client sends from now on. */
  hold: () => void
  /** Delivers what was held, and what the client sends from now on. */
  release: () => void
}

/** Starts a relay to a port of 127.0.0.1. */
export async function delayedRelay(t: ExecutionContext, target: number): Promise<DelayedRelay> {
  const sockets: Socket[] = []
  const held: Buffer[] = []
  let isHeld = false
  const server = createServer((client) => {
    const upstream = createConnection(target, '127.0.0.1')
    sockets.push(client, upstream)
    for (const socket of [client, upstream]) socket.on('error', () => {})
    client.on('data', (bytes) => (isHeld ? held.push(bytes) : upstream.write(bytes)))
    upstream.pipe(client)
  }).listen(0, '127.0.0.1')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  await once(server, 'listening')
  const { port }: AddressInfo = Object(server.address())
  return {
    port,
    hold: () => {
      isHeld = true
    },
    release: () => {
      isHeld = false
      for (const bytes of held.splice(0)) sockets[1]?.write(bytes)
    },
  }
}
