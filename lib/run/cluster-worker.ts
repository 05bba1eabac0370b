import cluster from 'node:cluster'
import type { EventEmitter } from 'node:events'

/** Closes every server of the app, and calls back when all have closed. */
export type CloseServers = (closed: () => void) => void

/** Returns the `cluster.worker` of an app. Its `disconnect()`, `destroy()` and `kill()` do what those of a fork of `cluster` do. */
export function clusterWorker(id: number, closeServers: CloseServers): EventEmitter {
  // With no argument: with `process`, the constructor would add a listener for messages, which keeps the process alive.
  const Worker: new () => EventEmitter = Reflect.get(cluster, 'Worker')
  const worker = Object.assign(new Worker(), { id, process, state: 'online' })
  const disconnect = (): EventEmitter => {
    if (LEAVING.includes(worker.state)) return worker
    Object.assign(worker, { state: 'disconnecting', exitedAfterDisconnect: true })
    closeServers(() => {
      if (process.connected) process.disconnect?.()
    })
    return worker
  }
  const destroy = (): void => {
    if (worker.state === 'destroying') return
    Object.assign(worker, { state: 'destroying', exitedAfterDisconnect: true })
    if (!process.connected) process.exit(0)
    process.once('disconnect', () => process.exit(0))
    process.disconnect?.()
  }
  forwardEvents(worker)
  return Object.assign(worker, { disconnect, destroy })
}

/** Emits the events of the process on the worker once the app listens for them there: a listener keeps the process alive. */
function forwardEvents(worker: EventEmitter): void {
  const left = new Set<string | symbol>(['message', 'disconnect', 'error'])
  worker.on('newListener', (event: string | symbol) => {
    if (!left.delete(event)) return
    process.on(String(event), (...given: unknown[]) => void worker.emit(event, ...given))
  })
}

const LEAVING = ['disconnecting', 'destroying']
