// Builds a fresh clone and runs an Express app, examples/run/app.mjs, on all cores by the command `socketserver`.
//
//     npm run demo               on port 8888
//     npm run demo -- 9000       on another port; PORT=9000 npm run demo does the same

import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { build } from './build.mjs'
import { setup } from './setup.mjs'
import { Failed, main, root } from './steps.mjs'

const HOST = '127.0.0.1'
const APP = join('examples', 'run', 'app.mjs')

const NEXT_STEPS = /** @type {const} */ ([
  ['curl HOST/', 'the answer names its process'],
  ['curl HOST/busy &', 'keeps one process busy for a second: the others go on'],
  ['npx socketserver status', 'the workers'],
  ['npx socketserver reload', 'new processes; no request is lost'],
  ['npx socketserver scale +1', 'one worker more'],
  ['npx socketserver top', 'the workers each second; q quits'],
  ['npx socketserver stop', 'the end, as Ctrl-C here'],
])

await main(async () => {
  const given = process.argv[2] ?? process.env['PORT'] ?? '8888'
  const port = Number(given)
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw new Failed(`The port must be a whole number from 1 to 65535, not '${given}'.`)
  }
  await requireFree(port)
  await setup()
  await build()
  const args = ['--bind', `${HOST}:${port}`, '--name', 'demo', APP]
  console.log(`\n$ npx socketserver run ${args.join(' ')}`)
  process.chdir(root)
  // In this process, so that Ctrl-C reaches the parent of the app directly.
  const { run } = await import('../dist/lib/command/run.js')
  try {
    await run(args)
  } catch (error) {
    throw new Failed(error instanceof Error ? error.message : String(error))
  }
  console.log(`
An Express app runs on all cores, unchanged: ${APP}. Type in another terminal, in this folder:

${NEXT_STEPS.map(([typed, what]) => `    ${typed.replace('HOST', `http://${HOST}:${port}`).padEnd(38)} ${what}`).join('\n')}
`)
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
