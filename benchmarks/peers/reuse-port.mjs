// Processes with one listener each on the same port. The kernel hashes each client to one of them (SO_REUSEPORT, socket(7)).

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { onStop, ready } from './ready.mjs'
import { environment, settings } from './settings.mjs'

const { workers, ...given } = settings()
const entry = new URL('./reuse-port-worker.mjs', import.meta.url)

// The first worker chooses the port.
let port = 0
/** @type {{ worker: import('node:child_process').ChildProcess, exit: Promise<unknown> }[]} */
const exits = []
for (let index = 0; index < workers; index++) {
  const worker = fork(entry, [String(port)], { env: environment({ workers: 1, ...given }) })
  exits.push({ worker, exit: once(worker, 'exit') })
  const [found] = await once(worker, 'message')
  port = Number(found)
}
ready(port)
onStop(async () => {
  for (const { worker } of exits) worker.disconnect()
  // The workers write their service times when they exit.
  await Promise.all(exits.map(({ exit }) => exit))
  process.exit()
})
