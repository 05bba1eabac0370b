// `socketserver top`: shows the state of an app, once a second.

import { constants } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { CommandError, usageError } from './command-error.js'
import type { Status } from './control/control-protocol.js'
import { appOf } from './orders.js'
import { statusTable } from './status-table.js'

/** Shows the state until the user types `q` or Ctrl-C. Throws if the app ends. */
export async function top(args: readonly string[]): Promise<void> {
  const { stdin, stdout } = process
  if (!stdout.isTTY || !stdin.isTTY) throw usageError("top needs a terminal; 'socketserver status' does not")
  const app = await appOf(args, 'top')
  const quit = new AbortController()
  stdin.setRawMode(true).on('data', (keys) => {
    if (['q', 'Q', CTRL_C].includes(String(keys))) quit.abort()
  })
  for (const signal of END_SIGNALS) {
    process.once(signal, () => {
      process.exitCode = 128 + constants.signals[signal]
      quit.abort()
    })
  }
  stdout.write(ENTER)
  try {
    let previous: Moment | undefined
    while (!quit.signal.aborted) {
      const status = await app.ask<Status>('GET', '/status')
      const moment = { status, at: new Date() }
      stdout.write(HOME + clipped(topScreen(moment, previous), stdout.rows || 24, stdout.columns || 80))
      previous = moment
      await delay(PERIOD, undefined, { signal: quit.signal }).catch(() => {})
    }
  } catch (error) {
    throw error instanceof CommandError ? new CommandError(`${app.name} has ended`, error.exitCode, error) : error
  } finally {
    stdout.write(LEAVE)
    stdin.setRawMode(false).pause()
  }
}

/** The state of an app at a time. */
interface Moment {
  status: Status
  at: Date
}

/** Returns the screen: the table of `status`, and the rates of the counters since the previous screen. */
function topScreen({ status, at }: Moment, previous: Moment | undefined): string {
  const { stats } = status
  const rate = (count: (status: Status) => number): string => {
    if (previous === undefined) return '-'
    const seconds = (at.getTime() - previous.at.getTime()) / 1000
    // If the clock was set back, the rate is unknown.
    return seconds > 0 ? `${Math.round((count(status) - count(previous.status)) / seconds)}/s` : '-'
  }
  const rates = [
    `accepted ${rate((each) => each.stats.accepted)}`,
    `taken ${rate((each) => each.stats.handedOff)}`,
    `leases ${stats.leases}`,
    `reloads ${stats.reloads}`,
    `restarts ${stats.restarts}`,
  ]
  return `${statusTable(status, at)}\n${rates.join('   ')}\n\nq quits`
}

/** Truncates a text to the size of the screen, and appends the sequences that clear the rest of the screen. */
function clipped(text: string, rows: number, columns: number): string {
  const lines = text.split('\n').slice(0, rows - 1)
  return lines.map((line) => `${line.slice(0, columns)}${CLEAR_LINE}\r\n`).join('') + CLEAR_BELOW
}

const PERIOD = 1000

/** Without a handler, these signals would leave the terminal in raw mode, on the alternate screen and without a cursor. */
const END_SIGNALS = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const

/** In raw mode the terminal sends this byte instead of SIGINT. */
const CTRL_C = '\x03'

/** Switches to the alternate screen without a cursor, and back to the main screen. */
const ENTER = '\x1b[?1049h\x1b[?25l'
const LEAVE = '\x1b[?25h\x1b[?1049l'
const HOME = '\x1b[H'
const CLEAR_LINE = '\x1b[K'
const CLEAR_BELOW = '\x1b[J'
