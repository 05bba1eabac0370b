// Servers that have been told to listen and do not listen yet. With a host `net` waits for a lookup, even for an IP address; every
// other form of `listen()` has succeeded or failed when it returns.

import { subscribe } from 'node:diagnostics_channel'
import { type EventEmitter, errorMonitor } from 'node:events'
import { Server } from 'node:net'

/** Returns whether a server waits for the lookup of the host that it was told to listen on. */
export function isAboutToListen(server: Server): boolean {
  return pending.has(server)
}

const pending = new WeakSet<Server>()

// The server has no property that tells. These channels are Node's own and documented.
subscribe('tracing:net.server.listen:asyncStart', (message) => {
  const server = serverOf(message)
  if (server === undefined || !isLookedUp(property(message, 'options'))) return
  pending.add(server)
  // No channel reports a name that cannot be resolved.
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

/** The same object, for an event that the types of `net.Server` do not list. */
function monitor(server: Server): EventEmitter {
  return server
}

function serverOf(message: unknown): Server | undefined {
  const server = property(message, 'server')
  return server instanceof Server ? server : undefined
}

/** Returns whether these options lead to a lookup; with a bad port `listen()` throws, which no channel reports. */
function isLookedUp(options: unknown): boolean {
  const port = Number(property(options, 'port') ?? 0)
  return Boolean(property(options, 'host')) && Number.isInteger(port) && port >= 0 && port <= 65_535
}

function property(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
}
