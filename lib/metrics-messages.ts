// The messages by which a parent asks its workers for the metrics of the app. Written and read in client/metrics/ and
// server/observe/.

/**
 * The `cmd` of each message between processes. Node emits a message with such a prefix as `internalMessage`, so neither side of the
 * app sees it, and the listener does not keep the worker alive.
 */
export const METRICS_COMMAND = 'NODE_SOCKETSERVER_METRICS'

/** A message of a worker: it has metrics to expose, or it answers a request. */
export interface WorkerMessage {
  cmd: typeof METRICS_COMMAND
  worker: number
  /** The number of the request; undefined in the first message. */
  id?: number
  metrics?: MetricObject[]
  error?: string
}

/** A request of the parent. */
export interface MetricsRequest {
  cmd: typeof METRICS_COMMAND
  id: number
}

/** A metric as `getMetricsAsJSON()` of prom-client returns it. */
export interface MetricObject {
  name: string
  help: string
  type: string
  aggregator?: string
  values: object[]
}

/** Returns the name of the BroadcastChannel of a server's threads. */
export function metricsChannel(server: string): string {
  return `socketserver metrics of ${server}`
}

export function isWorkerMessage(value: unknown): value is WorkerMessage {
  return isCommand(value) && 'worker' in value && typeof value.worker === 'number'
}

export function isMetricsRequest(value: unknown): value is MetricsRequest {
  return isCommand(value) && !('worker' in value) && 'id' in value && typeof value.id === 'number'
}

function isCommand(value: unknown): value is object {
  return typeof value === 'object' && value !== null && 'cmd' in value && value.cmd === METRICS_COMMAND
}
