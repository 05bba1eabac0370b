// The load: 26 clients of four kinds at once, who check every answer.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Load, type LoadReport, type Teardown } from '../helpers/load.js'

/** A request as its client saw it. Times are milliseconds since 1970. */
export interface Asked {
  kind: string
  /** `ok`, or what was wrong. */
  outcome: string
  begun: number
  ended: number
  /** The client's; undefined if it could not even connect. */
  port: number | undefined
}

export interface Clients {
  kind: string
  requests: number
  options: Record<string, number>
}

/** All clients of a run, with some 660 requests a second, and 32,600 in all if `scale` is 1. */
export function clientsOf(scale: number): Clients[] {
  const kinds: Clients[] = [
    { kind: 'a connection for each request', requests: 12_000, options: { clients: 8, rate: 250, requests: 1 } },
    { kind: 'kept connections', requests: 18_000, options: { clients: 8, rate: 375, body: 2000 } },
    { kind: 'slow ones', requests: 2400, options: { clients: 6, requests: 5, dribble: 20, body: 4000 } },
    { kind: 'kept ones that idle', requests: 200, options: { clients: 4, rate: 4, body: 100 } },
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

/** Answers that came where none was due, which no line of the log is about. */
function strays(kind: string, { answered_twice, outcomes }: LoadReport): Asked[] {
  const stray = { kind, outcome: 'doubled', begun: 0, ended: 0, port: undefined }
  return Array.from({ length: answered_twice + outcomes.doubled }, () => stray)
}
