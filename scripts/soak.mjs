// The long run: tens of thousands of requests from 26 clients, some slow and some idle, while workers are reloaded, resized
// and killed without pause; for processes, threads, and Node's cluster. Prints what each has lost, as a table.
//
//     npm run soak                            all three, 32,600 requests each
//     npm run soak -- processes --scale 10    ten times as many
//     npm run soak -- cluster --no-kills      reloads and resizes only
//
// It fails if processes or threads lose anything but what a killed worker held. `npm test` runs a tenth of it.

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
