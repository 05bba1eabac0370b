import type { Readable, Writable } from 'node:stream'
import type { Server } from '../../server/server.js'
import { LineSplitter } from './line-splitter.js'
import { LogBuffer } from './log-buffer.js'

/** The output of workers that goes through the parent: every line gets the slot of its worker in front, and nothing else changes. */
export class WorkerOutput {
  readonly log = new LogBuffer()

  constructor(server: Server) {
    // One listener per worker and stream, for as long as the worker lives.
    for (const stream of [process.stdout, process.stderr]) stream.setMaxListeners(0)
    server.on('start', ({ slot, process: child, thread }) => {
      const { stdout = null, stderr = null } = child ?? thread ?? {}
      if (stdout !== null) this.#pass(slot ?? 0, stdout, process.stdout)
      if (stderr !== null) this.#pass(slot ?? 0, stderr, process.stderr)
    })
  }

  #pass(slot: number, from: Readable, to: Writable): void {
    const plain = Buffer.from(`${slot}| `)
    const prefix = isColoured() ? Buffer.from(`\x1b[${COLOURS[slot % COLOURS.length]}m${slot}|\x1b[0m `) : plain
    const lines = from.pipe(new LineSplitter())
    lines.on('data', (line: Buffer) => {
      this.log.add(Buffer.concat([plain, line]))
      if (to.write(Buffer.concat([prefix, line]))) return
      // The terminal is slower than the worker, which then waits in its own write(2).
      lines.pause()
      to.once('drain', () => lines.resume())
    })
  }
}

/**
 * Returns the environment of workers whose output goes to a terminal by way of the parent: they see a pipe, and would do without
 * colours. chalk, Node's own `styleText()` and many others obey FORCE_COLOR.
 */
export function colourVariables(env: NodeJS.ProcessEnv): Record<string, string> {
  const isChosen = env['FORCE_COLOR'] !== undefined || env['NO_COLOR'] !== undefined
  if (isChosen || !isColoured()) return {}
  const depth = process.stdout.getColorDepth()
  return { FORCE_COLOR: depth >= 24 ? '3' : depth >= 8 ? '2' : '1' }
}

function isColoured(): boolean {
  return process.stdout.isTTY && process.stdout.hasColors()
}

/** Cyan, yellow, green, magenta, blue. */
const COLOURS = [36, 33, 32, 35, 34]
