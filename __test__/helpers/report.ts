import { parentPort } from 'node:worker_threads'

/** In a fixture that a server has started, as a process or a thread: tells the test what has happened. */
export function report(event: string, details: object = {}): void {
  if (parentPort === null) process.send?.({ ...details, event })
  else parentPort.postMessage({ ...details, event })
}

/** In a fixture: does what the test tells it to, by name. */
export function obey(commands: Record<string, () => void>): void {
  const hear = (name: unknown): void => commands[String(name)]?.()
  if (parentPort === null) process.on('message', hear)
  else parentPort.on('message', hear)
}

/** In a fixture: tries something that should fail, and tells the test how it did. */
export async function attempt(event: string, what: () => unknown, details: object = {}): Promise<void> {
  try {
    await what()
    report(event, { ...details, code: 'none' })
  } catch (error) {
    const { name, code, message } = Object(error)
    report(event, { ...details, name, code, message })
  }
}
