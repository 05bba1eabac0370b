// Runs in a WORKER: answers the parent's requests for the metrics of the app. The counterpart is server/observe/app-metrics.ts.

import type { EventEmitter } from 'node:events'
import { BroadcastChannel, isMainThread } from 'node:worker_threads'
import { SocketServerError } from '../../errors.js'
import {
  isMetricsRequest,
  METRICS_COMMAND,
  type MetricsRequest,
  metricsChannel,
  type WorkerMessage,
} from '../../metrics-messages.js'
import { readSettings, SETTINGS_VARIABLE } from '../../worker-settings.js'

/** The used members of a registry of prom-client. */
export interface MetricsRegistry {
  /** Returns all metrics with their values. */
  getMetricsAsJSON(): Promise<object[]>
}

const registries = new Set<MetricsRegistry>()

/**
 * Exposes the metrics of prom-client registries at `/metrics` of the parent's `admin()`. The parent merges the metrics of all workers
 * by the `aggregator` of each metric, and loads prom-client from the path of the workers' entry. Throws ERR_SOCKETSERVER_NO_PARENT in
 * a process or thread that no server started, and in a process without an IPC channel.
 */
export function exposeMetrics(...given: MetricsRegistry[]): void {
  const isFirst = registries.size === 0
  for (const registry of given) registries.add(registry)
  if (isFirst) listen()
}

function listen(): void {
  const text = process.env[SETTINGS_VARIABLE]
  if (text === undefined) throw noParent('no server started this process or thread')
  const { id: worker, server } = readSettings(text)
  const offer: WorkerMessage = { cmd: METRICS_COMMAND, worker }
  if (isMainThread) {
    const send = process.send?.bind(process)
    if (send === undefined) throw noParent('the option stdio of fork() has no IPC channel')
    const messages: EventEmitter = process
    messages.on('internalMessage', (message: unknown) => {
      // Sending fails if the parent has exited in the meantime.
      if (isMetricsRequest(message)) void answer(worker, message).then((reply) => send(reply, () => {}))
    })
    send(offer)
    return
  }
  const channel = new BroadcastChannel(metricsChannel(server))
  channel.onmessage = ({ data }: { data?: unknown }) => {
    if (isMetricsRequest(data)) void answer(worker, data).then((reply) => channel.postMessage(reply))
  }
  channel.unref()
  channel.postMessage(offer)
}

async function answer(worker: number, { id }: MetricsRequest): Promise<WorkerMessage> {
  const reply = { cmd: METRICS_COMMAND, worker, id } as const
  try {
    const metrics = await Promise.all(Array.from(registries, (registry) => registry.getMetricsAsJSON()))
    // Copies the metrics as plain data, because functions in a metric cannot be posted to another thread.
    return { ...reply, metrics: JSON.parse(JSON.stringify(metrics.flat())) }
  } catch (error) {
    return { ...reply, error: error instanceof Error ? error.message : String(error) }
  }
}

function noParent(reason: string): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_NO_PARENT', `exposeMetrics() has no parent: ${reason}`)
}
