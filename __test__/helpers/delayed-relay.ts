import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import type { ExecutionContext } from 'ava'

/** A relay of one connection that can hold the client's bytes: these bytes are then in flight to the server. */
export interface DelayedRelay {
  port: number
  /** Holds the bytes that the client sends from now on. */
  hold: () => void
  /** Delivers the held bytes, and later bytes at once. */
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
