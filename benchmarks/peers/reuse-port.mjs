// Processes with a listener each, on one port: the kernel hashes a client to one of them (SO_REUSEPORT, socket(7)).

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { atEnd, ready } from './ready.mjs'
import { environment, settings } from './settings.mjs'

const { workers, ...given } = settings()
const entry = new URL('./reuse-port-worker.mjs', import.meta.url)

// The first finds a port, and the others join it there.
let port = 0
for (let index = 0; index < workers; index++) {
  const worker = fork(entry, [String(port)], { env: environment({ workers: 1, ...given }) })
  const [found] = await once(worker, 'message')
  port = Number(found)
}
ready(port)
// The workers see the channel to this process end, and leave.
atEnd(() => process.exit())
