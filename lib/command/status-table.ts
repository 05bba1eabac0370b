import { addressText } from '../address.js'
import type { Status, WorkerStatus } from './control/control-protocol.js'

/** Returns the state of one app as text. */
export function statusTable(status: Status, now: Date): string {
  const { name, pid, startedAt, listeners, workers, stats } = status
  const where = listeners.map(addressText).join(', ') || 'nowhere'
  const { queued, maxQueued, accepted, shed, cut, waitMs } = stats
  return [
    `${name} (pid ${pid}), up ${duration(startedAt, now)}, listens on ${where}`,
    '',
    ...table(
      HEADINGS,
      workers.map((worker) => workerRow(worker, now)),
    ),
    '',
    `queue ${queued} (most ${maxQueued})${stats.paused ? ', accepting pauses' : ''}   accepted ${accepted}   shed ${shed}   cut ${cut}` +
      `   wait p50 ${milliseconds(waitMs.p50)}  p99 ${milliseconds(waitMs.p99)}  max ${milliseconds(waitMs.max)}`,
  ].join('\n')
}

/** Returns one line for each of several apps. */
export function appsTable(all: readonly Status[], now: Date): string {
  const rows = all.map(({ name, pid, startedAt, workers, listeners }) => {
    const ready = workers.filter(({ state }) => state === 'ready').length
    const where = listeners.map(addressText).join(', ') || 'nowhere'
    return [name, String(pid), duration(startedAt, now), `${ready} ready`, where]
  })
  return table(['name', 'pid', 'up', 'workers', 'listens on'], rows).join('\n')
}

const HEADINGS = ['slot', 'state', 'pid', 'gen', 'since', 'leases', 'handled', 'restarts', 'loop', 'memory']

function workerRow(worker: WorkerStatus, now: Date): string[] {
  const { slot, state, pid, generation, since, leases, handled, restarts, eventLoopUtilization: loop, memory } = worker
  return [
    String(slot ?? '-'),
    state,
    String(pid ?? 'thread'),
    String(generation),
    duration(since, now),
    String(leases),
    String(handled),
    String(restarts),
    loop === null ? '-' : `${Math.round(loop * 100)}%`,
    memory === null ? '-' : `${(memory / 2 ** 20).toFixed(1)} MB`,
  ]
}

/** Returns aligned lines. Columns of numbers are aligned to the right. */
function table(headings: readonly string[], rows: readonly string[][]): string[] {
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => row[column]?.length ?? 0)),
  )
  const isNumeric = headings.map((_, column) => rows.every((row) => /^[\d-]/.test(row[column] ?? '')))
  return [headings, ...rows].map((row) =>
    row
      .map((cell, column) =>
        isNumeric[column] ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  )
}

/** Returns the time since `since` in its two largest units: `3d 4h`, `12m 5s`, `7s`. */
export function duration(since: string, now: Date): string {
  const seconds = Math.max(0, Math.floor((now.getTime() - Date.parse(since)) / 1000))
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ] as const
  const first = parts.findIndex(([count]) => count > 0)
  const shown = first === -1 ? parts.slice(-1) : parts.slice(first, first + 2)
  return shown.map(([count, unit]) => `${count}${unit}`).join(' ')
}

function milliseconds(value: number): string {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`
}
