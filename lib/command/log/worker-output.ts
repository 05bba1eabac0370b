import type { Readable, Writable } from 'node:stream'
import type { Server } from '../../server/server.js'
import { LineSplitter } from './line-splitter.js'
import { LogBuffer } from './log-buffer.js'

/** Passes the output of workers through the parent and writes the worker's slot before each line. */
export class WorkerOutput {
  readonly log = new LogBuffer()

  constructor(server: Server) {
    // Each worker has a listener on each stream while it lives, which may exceed Node's limit of 10.
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
      // The terminal is slower than the worker. A full pipe then blocks the worker's write(2).
      lines.pause()
      to.once('drain', () => lines.resume())
    })
  }
}

/**
 * Returns variables that make workers write colours if their output goes through the parent to a terminal. Without
 * these variables, workers would write no colours to a pipe. chalk, Node's `styleText()` and other libraries read FORCE_COLOR.
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
