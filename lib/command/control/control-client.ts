// Sends requests to the parent of a running app. The counterpart is control-server.ts.

import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { CommandError, EXIT, reasonOf } from '../command-error.js'

/** The control socket of a running app. */
export class ControlClient {
  readonly name: string
  readonly path: string

  constructor(name: string, path: string) {
    this.name = name
    this.path = path
  }

  /** Sends a request and returns the parsed response. Throws the error that the parent reports. */
  async ask<Answer>(method: 'GET' | 'POST', target: string): Promise<Answer> {
    const response = await this.open(method, target)
    const body = await text(response)
    return JSON.parse(body)
  }

  /** Sends a request and returns the response as a stream. Throws the error that the parent reports. */
  async open(method: 'GET' | 'POST', target: string): Promise<IncomingMessage> {
    const response = await this.#send(method, target)
    if (response.statusCode === 200) return response
    const { error, exitCode } = JSON.parse(await text(response))
    throw new CommandError(String(error), Number(exitCode))
  }

  async #send(method: string, target: string): Promise<IncomingMessage> {
    // Uses a separate connection, because `stop` waits until the parent closes the connection.
    const sent = request({ socketPath: this.path, method, path: target, agent: new Agent({ keepAlive: false }) })
    sent.end()
    try {
      const [response]: IncomingMessage[] = await once(sent, 'response')
      if (response !== undefined) return response
    } catch (error) {
      throw connectError(this, error)
    }
    throw new CommandError(`${this.name} has not answered`)
  }
}

/** Returns whether a process listens on a control socket. */
export async function answers(path: string): Promise<boolean> {
  const socket = connect(path)
  try {
    await once(socket, 'connect')
    return true
  } catch (error) {
    return !isGone(error)
  } finally {
    socket.destroy()
  }
}

function connectError({ name, path }: ControlClient, error: unknown): CommandError {
  if (isGone(error)) return new CommandError(`no app named '${name}' is running`, EXIT.notRunning, error)
  return new CommandError(`${name} does not answer at ${path}: ${reasonOf(error)}`, EXIT.failed, error)
}

/** Returns whether no process listens: the file is missing, or belongs to a dead process. */
function isGone(error: unknown): boolean {
  if (!(error instanceof Error && 'code' in error)) return false
  return error.code === 'ENOENT' || error.code === 'ECONNREFUSED' || error.code === 'ENOTSOCK'
}
