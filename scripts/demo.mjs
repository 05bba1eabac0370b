// Builds a fresh clone and starts the echo example.
//
//     npm run demo               on port 8888
//     npm run demo -- 9000       on another port; PORT=9000 npm run demo does the same

import { once } from 'node:events'
import { createServer } from 'node:net'
import { build } from './build.mjs'
import { setup } from './setup.mjs'
import { Failed, main } from './steps.mjs'

const HOST = '127.0.0.1'

await main(async () => {
  const given = process.argv[2] ?? process.env['PORT'] ?? '8888'
  const port = Number(given)
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw new Failed(`The port must be a whole number from 1 to 65535, not '${given}'.`)
  }
  await requireFree(port)
  await setup()
  await build()
  process.env['PORT'] = String(port)
  // In this process, so that Ctrl-C reaches the example's parent process directly.
  await import('../examples/echo/server.mjs')
  console.log(`
Connect from another terminal; the server repeats what you type:

    nc ${HOST} ${port}
    curl telnet://${HOST}:${port}

Each connection goes to one of the worker processes. The source code is in examples/echo. Press Ctrl-C to stop.
`)
})

/**
 * Fails before the build if the example could not listen on this port after the build.
 *
 * @param {number} port
 */
async function requireFree(port) {
  const server = createServer().listen(port, HOST)
  try {
    await once(server, 'listening')
  } catch (error) {
    throw new Failed(`${error instanceof Error ? error.message : error}. Use another port: npm run demo -- 9000`)
  }
  await server[Symbol.asyncDispose]()
}
