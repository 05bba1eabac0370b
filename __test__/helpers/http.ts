import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { text } from 'node:stream/consumers'
import { within } from './within.js'

export interface Answer {
  status: number | undefined
  headers: IncomingMessage['headers']
  body: string
}

/** Sends one HTTP/1 request to a port of 127.0.0.1, on its own connection unless the options name an agent. */
export async function fetchOnce(
  port: number,
  { secure = false, body, ...options }: RequestOptions & { secure?: boolean; body?: string; servername?: string } = {},
): Promise<Answer> {
  const where = { host: '127.0.0.1', port, agent: false, rejectUnauthorized: false, ...options }
  const request = secure ? httpsRequest(where) : httpRequest(where)
  request.end(body)
  const [response]: IncomingMessage[] = await within(once(request, 'response'), 'an answer')
  if (response === undefined) throw new Error('The request has no response')
  return { status: response.statusCode, headers: response.headers, body: await text(response) }
}

/** Returns an HTTP/1.1 request as text. */
export function requestText(path: string, headers: Record<string, string> = {}, method = 'GET'): string {
  const lines = Object.entries({ Host: 'localhost', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`
}
