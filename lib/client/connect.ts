// Runs in a WORKER: opens the channel that the parent has passed to it.

import { isMainThread } from 'node:worker_threads'
import { CHANNEL_VARIABLE } from '../channel-variable.js'
import { callOnClosed, invalidType, SocketServerError } from '../errors.js'
import type { ReceiverPhase } from '../native.js'
import { markConnected } from '../worker-identity.js'
import { readSettings, SETTINGS_VARIABLE, type WorkerSettings } from '../worker-settings.js'
import { Channel } from './channel/channel.js'
import { join } from './channel/reconnecting-channel.js'
import type { ServerLink } from './channel/server-link.js'
import { Client } from './client.js'
import { type ConnectOptions, parseConnectOptions } from './client-options.js'
import { tcpConstructor } from './connection/stream-handle.js'
import { leaveProcess } from './lifecycle/exit-process.js'
import { leaveSignalsToParent } from './lifecycle/parent-signals.js'

/**
 * Connects to the server that started this process or thread, or, with a path, joins the server that shares the path, from any
 * process. With `port` the client takes connections of one listener only. A second call with the same path and port returns the
 * same client.
 *
 * Without a path: throws ERR_SOCKETSERVER_NO_PARENT if no server started this process or thread, and ERR_SOCKETSERVER_CLOSED once
 * every client has closed. If the server has died or retired this worker meanwhile, the client closes by itself.
 *
 * With a path: returns before the client has joined, which the event `joined` reports. The client rejoins when the server has
 * gone, until it is closed or refused permanently (ERR_SOCKETSERVER_REFUSED).
 *
 * Throws ERR_SOCKETSERVER_UNSUPPORTED_RUNTIME if this process cannot create sockets from descriptors, and
 * ERR_SOCKETSERVER_TOO_MANY_PORTS for more than 64 ports at a time.
 */
export function connect(options?: string | ConnectOptions): Client
export function connect(...given: [options?: string | ConnectOptions]): Client {
  if (given.length > 0 && given[0] === undefined) {
    const expected = 'a path or an options object; connect() without an argument connects to the parent'
    throw invalidType('options', expected, undefined)
  }
  const { port, path, reconnect } = parseConnectOptions(given[0] === undefined ? {} : given[0])
  if (path !== undefined) return join(path, port, reconnect)
  const channel = parentChannel()
  markConnected()
  const existing = clients.get(port)
  if (existing !== undefined && !existing.isClosing) return existing
  if (channel.hasLeft) {
    throw callOnClosed('connect()', 'this worker has left its server')
  }
  channel.assertLaneAvailable(port)
  const client = new Client(parentOf(channel), port)
  client.attach(channel)
  clients.set(port, client)
  return client
}

/** Returns the channel to the parent, which is opened on the first call. Throws ERR_SOCKETSERVER_NO_PARENT. */
export function parentChannel(): Channel {
  channel ??= openChannel()
  return channel
}

/** Returns the link of a client to the parent at the other end of a channel. */
export function parentOf(channel: Channel): ServerLink {
  return { settings: channel.settings, rejoins: false, ready: () => channel.open(), left: () => {} }
}

function openChannel(): Channel {
  const text = process.env[CHANNEL_VARIABLE]
  const settings = readSettings(process.env[SETTINGS_VARIABLE])
  // The worker's own threads inherit its environment, but they are not workers.
  if (!isMainThread && !(settings.isThread && text !== undefined)) {
    throw noParent(
      'connect() works in a thread that server.threads() started, or in the main thread of a worker process',
    )
  }
  if (text === undefined) {
    throw noParent("no server started this process: start it with createServer() and server.fork('./worker.js')")
  }
  // A worker that cannot create sockets must not become ready.
  tcpConstructor()
  // Deleted, because child processes and a second copy of this package must not use the descriptor.
  delete process.env[CHANNEL_VARIABLE]
  delete process.env[SETTINGS_VARIABLE]
  if (!/^\d+$/.test(text)) throw noParent(`${CHANNEL_VARIABLE} is '${text}', which is not a descriptor`)
  try {
    const opened = new Channel(Number(text), settings, { closed: (phase) => channelClosed(settings, phase) })
    if (settings.ignoreSignals && isMainThread) leaveSignalsToParent(opened)
    return opened
  } catch (cause) {
    throw noParent(`${CHANNEL_VARIABLE} is ${text}, but that descriptor is not a channel to a server`, cause)
  }
}

/** Lets this worker exit when its last client has finished, unless the application closed the clients itself. */
function channelClosed(settings: WorkerSettings, { phase, reason }: ReceiverPhase): void {
  if (phase !== 'retired' && phase !== 'ended') return
  // A parent that has ended the channel sends SIGTERM itself.
  leaveProcess(settings, { signals: reason !== 'closed' })
}

function noParent(reason: string, cause?: unknown): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_NO_PARENT', `There is no server to connect to: ${reason}`, { cause })
}

let channel: Channel | undefined
const clients = new Map<number, Client>()
