// Which requests were lost, and whether exactly those were that a killed worker held. Pure.

import type { Asked } from './clients.js'
import type { Holdings } from './witness.js'

/** A worker that was killed. Times are milliseconds since 1970. */
export interface Kill extends Holdings {
  worker: string
  /** When it was about to be killed, ... */
  from: number
  /** ... and when it was gone. */
  until: number
  /** Connections that the parent says it took along; undefined where nobody says so. */
  cut: number | undefined
}

export interface Verdict {
  requests: number
  kills: number
  /** Connections that the killed had taken when they died. */
  held: number
  /** Of these, those on which a request was under way, and was lost. The others were answered, or idle. */
  lost: number
  /** Lost requests whose connection no killed worker held, by what became of them. */
  elsewhere: Record<string, number>
  /** Of these, how many ended while a worker was being killed, or just after. */
  elsewhereAtKills: number
  /** Kills of which the parent has told another number of connections than were held. */
  miscounted: string[]
  /** Connections held that no client knows of. */
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
    // Taken, but killed before it could note so: the parent has counted one more, then.
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

/** The parent's count may be one above only if the worker's last note, that a connection is over, was its last act. */
function miscount({ worker, cut, isLastOver }: Kill, held: number): string[] {
  if (cut === undefined || cut === held || (isLastOver && cut === held + 1)) return []
  return [`${worker} held ${held}, and ${cut} were told`]
}

/** Whether a request had begun when a worker died, and ended by that at the earliest. */
function wasUnderWay({ begun, ended }: Asked, { from, until }: Kill): boolean {
  return begun <= until + CLOCKS && ended >= from - CLOCKS && ended <= until + REACTION
}

/** Milliseconds by which the clocks of two processes may be apart: both read the same one, and round. */
const CLOCKS = 2

/** Milliseconds in which a client sees that its connection has ended. */
const REACTION = 2000
