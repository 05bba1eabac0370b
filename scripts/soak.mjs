// Runs the soak test: 26 clients, some slow and some idle, send tens of thousands of requests while workers are reloaded,
// resized and killed all the time. Compares processes, threads and Node's cluster, and prints the lost requests of each.
//
//     npm run soak                            all three, 32,600 requests each
//     npm run soak -- processes --scale 10    ten times as many requests
//     npm run soak -- cluster --no-kills      reloads and resizes only
//
// Fails if processes or threads lose a request that no killed worker held. `npm test` runs a tenth of the soak test.

import { join } from 'node:path'
import { build } from './build.mjs'
import { setup } from './setup.mjs'
import { main, root, run } from './steps.mjs'
import { compileTests } from './test.mjs'

await main(async () => {
  await setup()
  await build()
  await compileTests()
  await run(process.execPath, [join(root, 'build', 'test', 'soak', 'main.js'), ...process.argv.slice(2)])
})
