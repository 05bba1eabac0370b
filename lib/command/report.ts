// The parent of a running app writes its messages to standard error, because standard output belongs to the app.

import { stripVTControlCharacters } from 'node:util'
import { SocketServerError } from '../errors.js'
import { reasonOf } from './command-error.js'

/** Prints a message with the name of the command before it. */
export function printMessage(sentence: string): void {
  process.stderr.write(`socketserver: ${sentence}\n`)
}

/** Returns a number with its noun. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/**
 * Describes why a worker could not be started: the slot, the exit, and the last lines of standard error. `slotOf` returns
 * the slot of a worker by its process id or thread id.
 */
export function failureText(error: unknown, slotOf: (id: number) => number | undefined): string {
  if (!(error instanceof SocketServerError)) return reasonOf(error)
  // The cause of a crash loop is its last failure. The cause of a failed recycling is the failure of the new worker.
  if (error.cause instanceof SocketServerError) return failureText(error.cause, slotOf)
  const id = error.pid ?? error.threadId
  if (!error.code.startsWith('ERR_SOCKETSERVER_') || id === undefined) return error.message
  const slot = slotOf(id)
  const worker = slot === undefined ? 'a worker' : `the worker in slot ${slot}`
  // A thread that has thrown writes nothing to standard error, so the message contains the stack of its error.
  const last = error.stderr ?? (error.cause instanceof Error ? error.cause.stack : undefined)
  const lines = last === undefined ? [] : ['its last lines:', ...quoted(last)]
  return [`${worker} ${endOf(error)}`, ...hints(error), ...lines].join('\n')
}

/** Returns the lines of a worker's output, without colours and without the stack frames of Node itself. */
function quoted(output: string): string[] {
  const lines = stripVTControlCharacters(output).split('\n')
  return lines.filter((line) => !NODE_FRAME.test(line)).map((line) => `  | ${line}`.trimEnd())
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

function hints(error: SocketServerError): string[] {
  const stderr = stripVTControlCharacters(error.stderr ?? '')
  // The pattern matches the message of the error. If the last lines do not reach the message, it matches the properties.
  const [, port] = /EADDRINUSE.*?:(\d+)\s/.exec(`${stderr} `) ?? /'EADDRINUSE'[^}]*\bport: (\d+)/.exec(stderr) ?? []
  return port === undefined ? [] : [`port ${port} is in use by another program`]
}

/** A line of a stack that names a function of Node itself. */
const NODE_FRAME = /^\s+at (?:.* \()?node:internal\//
