// Runs in a WORKER: finds the channel that its parent left it.

import { isMainThread } from 'node:worker_threads'
import { CHANNEL_VARIABLE } from '../channel-variable.js'
import { SocketServerError } from '../errors.js'
import { Channel } from './channel.js'
import { Client } from './client.js'
import { type ConnectOptions, parseConnectOptions } from './client-options.js'

/**
 * Connects to the server that started this process, or rather to one of its listeners if `port` is given. A second call
 * with the same port gives the same client. Throws ERR_SOCKETSERVER_NO_PARENT if no server started this process, and
 * ERR_SOCKETSERVER_CLOSED once every client of it has closed.
 */
export function connect(options: ConnectOptions = {}): Client {
  const port = parseConnectOptions(options)
  channel ??= openChannel()
  const existing = clients.get(port)
  if (existing !== undefined && !existing.isClosing) return existing
  if (channel.hasLeft || channel.phase.phase === 'retired' || channel.phase.phase === 'ended') {
    throw new SocketServerError('ERR_SOCKETSERVER_CLOSED', 'This process has left its server: connect() comes too late')
  }
  const client = new Client(channel, port)
  clients.set(port, client)
  return client
}

function openChannel(): Channel {
  if (!isMainThread) throw noParent('connect() works in the main thread of a worker process')
  const text = process.env[CHANNEL_VARIABLE]
  // Read once: neither a second copy of this process's code nor a child of it has any business with the descriptor.
  delete process.env[CHANNEL_VARIABLE]
  if (text === undefined) {
    throw noParent("no server started this process: start it with createServer() and server.fork('./worker.js')")
  }
  if (!/^\d+$/.test(text)) throw noParent(`${CHANNEL_VARIABLE} is '${text}', which is no descriptor`)
  try {
    return new Channel(Number(text))
  } catch (cause) {
    throw noParent(`${CHANNEL_VARIABLE} is ${text}, but that descriptor is no channel to a server`, cause)
  }
}

function noParent(why: string, cause?: unknown): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_NO_PARENT', `There is no server to connect to: ${why}`, { cause })
}

let channel: Channel | undefined
const clients = new Map<number, Client>()
