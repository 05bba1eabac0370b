// The load: 26 clients of four kinds that check every answer.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Load, type LoadReport, type Teardown } from '../helpers/load.js'

/** A request as observed by its client. Times are milliseconds since 1970. */
export interface Asked {
  kind: string
  /** `ok`, or the kind of failure. */
  outcome: string
  begun: number
  ended: number
  /** The port of the client; undefined if it could not connect. */
  port: number | undefined
}

export interface Clients {
  kind: string
  requests: number
  options: Record<string, number>
}

/** Returns the clients of a run: about 660 requests per second, and 32,600 in total if `scale` is 1. */
export function clientsOf(scale: number): Clients[] {
  const kinds: Clients[] = [
    { kind: 'a connection for each request', requests: 12_000, options: { clients: 8, rate: 250, requests: 1 } },
    { kind: 'kept connections', requests: 18_000, options: { clients: 8, rate: 375, body: 2000 } },
    { kind: 'slow requests', requests: 2400, options: { clients: 6, requests: 5, dribble: 20, body: 4000 } },
    { kind: 'idle kept connections', requests: 200, options: { clients: 4, rate: 4, body: 100 } },
  ]
  return kinds.map((clients) => ({ ...clients, requests: Math.ceil(clients.requests * scale) }))
}

export async function askAll(t: Teardown, port: number, scale: number, directory: string): Promise<Asked[]> {
  const all = clientsOf(scale).map(async ({ kind, requests, options }, index) => {
    const log = join(directory, `clients-${index}`)
    const more = { connections: requests, expect: 'body', log }
    const report = await new Load(t, port, { ...options, ...more }, 'http').report
    return [...readLog(kind, log, report), ...strays(kind, report)]
  })
  return (await Promise.all(all)).flat()
}

function readLog(kind: string, log: string, { started_unix_us }: LoadReport): Asked[] {
  const started = started_unix_us / 1000
  const lines = readFileSync(log, 'utf8').trimEnd().split('\n')
  return lines.map((line) => {
    const [, , begun, ended, outcome = '', , port] = line.split('\t')
    const at = (microseconds: string | undefined): number => started + Number(microseconds) / 1000
    return { kind, outcome, begun: at(begun), ended: at(ended), port: port === '-' ? undefined : Number(port) }
  })
}

/** Returns unexpected answers, which have no line in the log. */
function strays(kind: string, { answered_twice, outcomes }: LoadReport): Asked[] {
  const stray = { kind, outcome: 'doubled', begun: 0, ended: 0, port: undefined }
  return Array.from({ length: answered_twice + outcomes.doubled }, () => stray)
}
