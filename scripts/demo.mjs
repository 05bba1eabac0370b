// Builds a fresh clone and runs an Express app, examples/run/app.mjs, on all cores by the command `socketserver`.
//
//     npm run demo               on port 8888
//     npm run demo -- 9000       on another port; PORT=9000 npm run demo does the same

import { once } from 'node:events'
import { createServer } from 'node:net'
import { build } from './build.mjs'
import { HOST, portOf, runDemo } from './run-demo.mjs'
import { setup } from './setup.mjs'
import { Failed, main } from './steps.mjs'

await main(async () => {
  const port = portOf(process.argv[2] ?? process.env['PORT'] ?? '8888')
  await requireFree(port)
  await setup()
  await build()
  await runDemo(port)
})

/**
 * Fails before the build if the app could not listen on this port after the build.
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
