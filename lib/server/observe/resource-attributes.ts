// The identity of a worker for OpenTelemetry.

/**
 * Returns `OTEL_RESOURCE_ATTRIBUTES` for a worker process or thread. Adds a unique `service.instance.id`, unless the variable has
 * one. Otherwise all workers would report the same identity, and a collector would mix their counters into one series.
 */
export function resourceAttributes(given: string | undefined, slot: number): string {
  const attributes = given === undefined || given.trim() === '' ? [] : [given]
  if (/(^|,)\s*service\.instance\.id\s*=/.test(given ?? '')) return attributes.join()
  return [...attributes, `service.instance.id=${globalThis.crypto.randomUUID()}`, `socketserver.slot=${slot}`].join()
}
