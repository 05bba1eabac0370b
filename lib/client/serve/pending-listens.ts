// Servers whose `listen()` is pending. With a host `net` waits for a lookup, even of an IP address. All other forms of `listen()`
// have succeeded or failed when they return.

import { subscribe } from 'node:diagnostics_channel'
import { type EventEmitter, errorMonitor } from 'node:events'
import { Server } from 'node:net'

/** Returns whether a server waits for the host lookup of its `listen()`. */
export function isAboutToListen(server: Server): boolean {
  return pending.has(server)
}

const pending = new WeakSet<Server>()

// No property of the server shows this state. Node documents these diagnostics channels.
subscribe('tracing:net.server.listen:asyncStart', (message) => {
  const server = serverOf(message)
  if (server === undefined || !isLookedUp(property(message, 'options'))) return
  pending.add(server)
  // No channel reports a failed lookup.
  monitor(server).once(errorMonitor, forget)
})
subscribe('tracing:net.server.listen:asyncEnd', (message) => settle(serverOf(message)))
subscribe('tracing:net.server.listen:error', (message) => settle(serverOf(message)))

function forget(this: Server): void {
  settle(this)
}

function settle(server: Server | undefined): void {
  if (server === undefined) return
  pending.delete(server)
  monitor(server).off(errorMonitor, forget)
}

/** Returns the server as an emitter of any event: the types of `net.Server` lack `errorMonitor`. */
function monitor(server: Server): EventEmitter {
  return server
}

function serverOf(message: unknown): Server | undefined {
  const server = property(message, 'server')
  return server instanceof Server ? server : undefined
}

/** Returns whether `listen()` with these options waits for a lookup. With an invalid port it throws, which no channel reports. */
function isLookedUp(options: unknown): boolean {
  const port = Number(property(options, 'port') ?? 0)
  return Boolean(property(options, 'host')) && Number.isInteger(port) && port >= 0 && port <= 65_535
}

function property(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
}
