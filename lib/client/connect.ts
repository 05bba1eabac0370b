// Runs in a WORKER: finds the channel that its parent left it.

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
 * Connects to the server that started this process or thread, or, with a path, joins the server that shares it: then this may
 * be any process. With `port` it serves that one listener only. A second call with the same path and port gives the same client.
 *
 * Without a path: where the server has gone or has retired this worker in the meantime, the client has nothing to give and
 * closes by itself. Throws ERR_SOCKETSERVER_NO_PARENT if no server started it, and ERR_SOCKETSERVER_CLOSED once every client of
 * it has closed. Throws ERR_SOCKETSERVER_UNSUPPORTED_RUNTIME where this process can make no socket of a descriptor, and
 * ERR_SOCKETSERVER_TOO_MANY_PORTS for more than 64 ports at one time. With a path it returns before it has joined, which `joined` tells, and joins again when the server has gone,
 * until it is closed or refused for good (ERR_SOCKETSERVER_REFUSED).
 */
export function connect(options?: string | ConnectOptions): Client
export function connect(...given: [options?: string | ConnectOptions]): Client {
  if (given.length > 0 && given[0] === undefined) {
    const what = 'a path or an options object; connect() without an argument connects to the parent'
    throw invalidType('options', what, undefined)
  }
  const { port, path, reconnect } = parseConnectOptions(given[0] === undefined ? {} : given[0])
  if (path !== undefined) return join(path, port, reconnect)
  channel ??= openChannel()
  markConnected()
  const existing = clients.get(port)
  if (existing !== undefined && !existing.isClosing) return existing
  if (channel.hasLeft) {
    throw callOnClosed('connect()', 'this worker has left its server')
  }
  channel.assertRoom(port)
  const client = new Client(parentOf(channel), port)
  client.attach(channel)
  clients.set(port, client)
  return client
}

function parentOf(channel: Channel): ServerLink {
  return { settings: channel.settings, rejoins: false, ready: () => channel.open(), left: () => {} }
}

function openChannel(): Channel {
  const text = process.env[CHANNEL_VARIABLE]
  const settings = readSettings(process.env[SETTINGS_VARIABLE])
  // A worker's own threads inherit its environment, but not its place.
  if (!isMainThread && !(settings.isThread && text !== undefined)) {
    throw noParent(
      'connect() works in a thread that server.threads() started, or in the main thread of a worker process',
    )
  }
  if (text === undefined) {
    throw noParent("no server started this process: start it with createServer() and server.fork('./worker.js')")
  }
  // A worker that could make no socket of a connection must not say that it is ready.
  tcpConstructor()
  // Read once: neither a second copy of this process's code nor a child of it has any business with the descriptor.
  delete process.env[CHANNEL_VARIABLE]
  delete process.env[SETTINGS_VARIABLE]
  if (!/^\d+$/.test(text)) throw noParent(`${CHANNEL_VARIABLE} is '${text}', which is no descriptor`)
  try {
    const opened = new Channel(Number(text), settings, { closed: (phase) => channelClosed(settings, phase) })
    if (settings.ignoreSignals && isMainThread) leaveSignalsToParent(opened)
    return opened
  } catch (cause) {
    throw noParent(`${CHANNEL_VARIABLE} is ${text}, but that descriptor is no channel to a server`, cause)
  }
}

/** The last client of the parent has finished. A worker that has closed its clients itself stays for as long as it likes. */
function channelClosed(settings: WorkerSettings, { phase, reason }: ReceiverPhase): void {
  if (phase !== 'retired' && phase !== 'ended') return
  // A parent that has ended the channel sends SIGTERM itself.
  leaveProcess(settings, { signals: reason !== 'closed' })
}

function noParent(why: string, cause?: unknown): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_NO_PARENT', `There is no server to connect to: ${why}`, { cause })
}

let channel: Channel | undefined
const clients = new Map<number, Client>()
