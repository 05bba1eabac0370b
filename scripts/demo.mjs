// The first thing a new reader runs, on a clone and nothing else: installs, builds, starts the echo example with its
// workers, and prints how to talk to it.
//
//     npm run demo               port 8888
//     npm run demo -- 9000       another port; PORT=9000 npm run demo does the same

import { once } from 'node:events'
import { createServer } from 'node:net'
import { build } from './build.mjs'
import { setup } from './setup.mjs'
import { Failed, main } from './steps.mjs'

const HOST = '127.0.0.1'

await main(async () => {
  const port = Number(process.argv[2] ?? process.env['PORT'] ?? 8888)
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw new Failed(`The port must be a number from 1 to 65535, not '${process.argv[2] ?? process.env['PORT']}'.`)
  }
  // Now, and not after two minutes of building.
  await requireFree(port)
  await setup()
  await build()
  // In this process, so that Ctrl-C reaches the parent itself and not a chain of processes before it.
  process.env['PORT'] = String(port)
  try {
    await import('../examples/echo/server.mjs')
  } catch (error) {
    if (error instanceof Error && 'syscall' in error) throw unusable(error, port)
    throw error
  }
  console.log(next(port))
})

/** @param {number} port */
function next(port) {
  return `
Talk to it from another terminal; it answers what you type:

    nc ${HOST} ${port}
    curl telnet://${HOST}:${port}

Open several at once, and each is answered by another process. The source: examples/echo. Ctrl-C ends everything.
`
}

/** @param {number} port */
async function requireFree(port) {
  const probe = createServer().listen(port, HOST)
  try {
    await once(probe, 'listening')
  } catch (error) {
    throw unusable(error, port)
  }
  probe.close()
  await once(probe, 'close')
}

/**
 * @param {unknown} error
 * @param {number} port
 */
function unusable(error, port) {
  return new Failed(`${reason(error, port)} Choose another: npm run demo -- 9000`)
}

/**
 * @param {unknown} error
 * @param {number} port
 */
function reason(error, port) {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE') return `Port ${port} is already in use.`
  if (code === 'EACCES') return `Port ${port} needs privileges that this user does not have.`
  return `Cannot listen on port ${port}: ${error instanceof Error ? error.message : error}.`
}
