import { parentPort } from 'node:worker_threads'

/** In a worker process or thread: reports an event to the test. */
export function report(event: string, details: object = {}): void {
  if (parentPort === null) process.send?.({ ...details, event })
  else parentPort.postMessage({ ...details, event })
}

/** In a worker process or thread: runs the command that the test sends by its name. */
export function obey(commands: Record<string, () => void>): void {
  const receive = (name: unknown): void => commands[String(name)]?.()
  if (parentPort === null) process.on('message', receive)
  else parentPort.on('message', receive)
}

/** In a worker process or thread: calls a function that may throw and reports the error to the test. */
export async function attempt(event: string, action: () => unknown, details: object = {}): Promise<void> {
  try {
    await action()
    report(event, { ...details, code: 'none' })
  } catch (error) {
    const { name, code, message } = Object(error)
    report(event, { ...details, name, code, message })
  }
}
