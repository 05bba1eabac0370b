// Runs an Express app, examples/run/app.mjs, on all cores by the command `socketserver`. Needs a built package: `npm run demo` builds
// it first.
//
//     node scripts/run-demo.mjs 8888

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Failed, main, root } from './steps.mjs'

export const HOST = '127.0.0.1'
const APP = join('examples', 'run', 'app.mjs')

const NEXT_STEPS = /** @type {const} */ ([
  ['curl HOST/', 'the response contains the id of the process'],
  ['curl HOST/busy &', 'blocks one process for a second; the others respond'],
  ['npx socketserver status', 'shows the workers'],
  ['npx socketserver reload', 'replaces the processes and loses no request'],
  ['npx socketserver scale +1', 'adds a worker'],
  ['npx socketserver top', 'shows the workers each second; q quits'],
  ['npx socketserver stop', 'stops the app, like Ctrl-C in this terminal'],
])

/**
 * Starts the app in this process, so that Ctrl-C reaches the parent of the app directly, and prints the next steps.
 *
 * @param {number} port
 */
export async function runDemo(port) {
  const args = ['--bind', `${HOST}:${port}`, '--name', 'demo', APP]
  console.log(`\n$ npx socketserver run ${args.join(' ')}`)
  process.chdir(root)
  const { run } = await import('../dist/lib/command/run.js')
  try {
    await run(args)
  } catch (error) {
    throw new Failed(error instanceof Error ? error.message : String(error))
  }
  console.log(`
An unmodified Express app, ${APP}, runs on all cores. Type in another terminal, in this folder:

${NEXT_STEPS.map(([typed, what]) => `    ${typed.replace('HOST', `http://${HOST}:${port}`).padEnd(38)} ${what}`).join('\n')}
`)
}

/**
 * Parses a port. Throws if the text is not a port.
 *
 * @param {string} given
 */
export function portOf(given) {
  const port = Number(given)
  if (Number.isInteger(port) && port >= 1 && port <= 65535) return port
  throw new Failed(`The port must be a whole number from 1 to 65535, not '${given}'.`)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await main(() => runDemo(portOf(process.argv[2] ?? '8888')))
}
