// A parent's process stays alive while its server has something to do.

import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import { run } from '../helpers/program.js'

const IDLE: readonly { does: string[]; exits: boolean; what: string }[] = [
  { does: [], exits: true, what: 'has an idle server exits' },
  { does: ['listen'], exits: false, what: 'listens stays alive' },
  { does: ['fork'], exits: false, what: 'has a worker stays alive' },
  { does: ['listen', 'unref'], exits: true, what: 'listens unreferenced exits' },
  { does: ['listen', 'fork', 'unref'], exits: true, what: 'has only unreferenced resources exits' },
  { does: ['unref first', 'listen'], exits: true, what: 'was unreferenced before it listened exits' },
  { does: ['listen', 'fork', 'unref', 'ref'], exits: false, what: 'is referenced again stays alive' },
  { does: ['listen', 'fork', 'close'], exits: true, what: 'has closed its server exits' },
]

for (const { does, exits, what } of IDLE) {
  test(`a process that ${what}`, async (t) => {
    const program = run(t, 'start-and-idle', { args: does })
    t.is(await program.line(), 'idle')
    if (exits) {
      t.is(await program.exit(), 0)
    } else {
      // That nothing happens cannot be waited for: an exit would take some milliseconds.
      await delay(200)
      t.is(program.process.exitCode, null)
    }
  })
}
