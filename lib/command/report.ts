// Messages of the parent of a running app, on standard error. Standard output belongs to the app.

import { SocketServerError } from '../errors.js'
import { reasonOf } from './command-error.js'

/** Prints a sentence. */
export function say(sentence: string): void {
  process.stderr.write(`socketserver: ${sentence}\n`)
}

/** Returns a number with its noun. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/**
 * Returns why a worker could not be started: its slot, how it ended, and the last lines of its standard error. `slotOf` returns
 * the slot of a worker by its process id or thread id.
 */
export function failureText(error: unknown, slotOf: (id: number) => number | undefined): string {
  if (!(error instanceof SocketServerError)) return reasonOf(error)
  // A crash loop has its last failure as the cause; recycling has the failure of the replacement.
  if (error.cause instanceof SocketServerError) return failureText(error.cause, slotOf)
  const id = error.pid ?? error.threadId
  if (!error.code.startsWith('ERR_SOCKETSERVER_') || id === undefined) return error.message
  const slot = slotOf(id)
  const worker = slot === undefined ? 'a worker' : `the worker in slot ${slot}`
  // A thread that has thrown wrote nothing.
  const last = error.stderr ?? (error.cause instanceof Error ? error.cause.stack : undefined)
  const lines = last === undefined ? [] : ['its last lines:', ...last.split('\n').map((line) => `  | ${line}`)]
  return [`${worker} ${endOf(error)}`, ...hints(error), ...lines].join('\n')
}

function endOf({ code, exitCode, signal, message, stderr }: SocketServerError): string {
  if (signal !== undefined) return `was ended by ${signal} before it was ready`
  if (exitCode === 0) return 'exited with code 0 before it was ready: it is a program that ends, and not a server'
  if (exitCode !== undefined) return `exited with code ${exitCode} before it was ready`
  const sentence = stderr === undefined ? message : message.replace(/\. Its last lines:[\s\S]*/, '')
  // The message begins with `Worker 3 (/path/app.js, pid 4711)`.
  return code === 'ERR_SOCKETSERVER_READY_TIMEOUT'
    ? sentence.replace(/^Worker \d+ \(.*?, (?:pid|thread) \d+\) /, '')
    : sentence
}

function hints({ stderr = '' }: SocketServerError): string[] {
  // The message of the error, or, where the stack is longer than the last lines, its properties.
  const [, port] = /EADDRINUSE.*?:(\d+)\s/.exec(`${stderr} `) ?? /'EADDRINUSE'[^}]*\bport: (\d+)/.exec(stderr) ?? []
  return port === undefined ? [] : [`port ${port} is in use by another program`]
}
