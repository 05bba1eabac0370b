// Decides which requests were lost, and whether a killed worker held each of them. Pure.

import type { Asked } from './clients.js'
import type { Holdings } from './held-connections.js'

/** A killed worker. Times are milliseconds since 1970. */
export interface Kill extends Holdings {
  worker: string
  /** Before the kill. */
  from: number
  /** After its exit. */
  until: number
  /** Connections that the parent reported as cut; undefined if it does not report them. */
  cut: number | undefined
}

export interface Verdict {
  requests: number
  kills: number
  /** Connections that killed workers held when they died. */
  held: number
  /** Connections of `held` on which a request was pending and was lost. The others were answered or idle. */
  lost: number
  /** Lost requests whose connection no killed worker held, by outcome. */
  elsewhere: Record<string, number>
  /** Requests of `elsewhere` that ended while a worker was being killed, or just after. */
  elsewhereAtKills: number
  /** Kills for which the parent reported a different number of connections than the worker held. */
  miscounted: string[]
  /** Held connections without a client. */
  unknown: number
}

export function judge(asked: readonly Asked[], kills: readonly Kill[]): Verdict {
  const elsewhere: Asked[] = []
  const unnoted = new Map<Kill, number>()
  let lost = 0
  for (const request of asked) {
    if (request.outcome === 'ok') continue
    const near = kills.filter((kill) => wasUnderWay(request, kill))
    if (near.some(({ ports }) => request.port !== undefined && ports.has(request.port))) {
      lost += 1
      continue
    }
    // The worker was killed before it could note this connection: then the parent has counted one more.
    const taker = near.find((kill) => (kill.cut ?? 0) > kill.ports.size + (unnoted.get(kill) ?? 0))
    if (taker === undefined || request.outcome === 'refused') elsewhere.push(request)
    else {
      unnoted.set(taker, (unnoted.get(taker) ?? 0) + 1)
      lost += 1
    }
  }
  const outcomes: Record<string, number> = {}
  for (const { outcome } of elsewhere) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
  const count = (kill: Kill): number => kill.ports.size + (unnoted.get(kill) ?? 0)
  return {
    requests: asked.length,
    kills: kills.length,
    held: kills.reduce((sum, kill) => sum + count(kill), 0),
    lost,
    elsewhere: outcomes,
    elsewhereAtKills: elsewhere.filter((request) => kills.some((kill) => wasUnderWay(request, kill))).length,
    miscounted: kills.flatMap((kill) => miscount(kill, count(kill))),
    unknown: unknownOf(asked, kills),
  }
}

function unknownOf(asked: readonly Asked[], kills: readonly Kill[]): number {
  const first = new Map<number, number>()
  for (const { port, begun } of asked) {
    if (port !== undefined) first.set(port, Math.min(begun, first.get(port) ?? begun))
  }
  const isUnknown = (port: number, { until }: Kill): boolean => (first.get(port) ?? until + REACTION) > until + CLOCKS
  return kills.reduce((sum, kill) => sum + [...kill.ports].filter((port) => isUnknown(port, kill)).length, 0)
}

/** The parent may count one more only if the worker's last note was the end of a connection. */
function miscount({ worker, cut, isLastOver }: Kill, held: number): string[] {
  if (cut === undefined || cut === held || (isLastOver && cut === held + 1)) return []
  return [`${worker} held ${held}, and ${cut} were reported`]
}

/** Returns whether a request was pending when a worker died. */
function wasUnderWay({ begun, ended }: Asked, { from, until }: Kill): boolean {
  return begun <= until + CLOCKS && ended >= from - CLOCKS && ended <= until + REACTION
}

/** Milliseconds by which two processes may differ in the time: they read the same clock and round. */
const CLOCKS = 2

/** Milliseconds within which a client notices the end of its connection. */
const REACTION = 2000
