// Measures the cost of a connection with this package and with Node's own ways of sharing a port, side by side.
//
//     npm run bench                        all cases
//     npm run bench -- --quick             all cases, with short rounds
//     npm run bench -- cost tails          these cases
//     npm run bench -- --help

import { constants } from 'node:os'
import { setup } from '../scripts/setup.mjs'
import { main } from '../scripts/steps.mjs'

// Exiting removes temporary files, which a signal's default action does not. The servers stop when their stdin closes.
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
  process.once(signal, () => process.exit(128 + constants.signals[signal]))
}

await main(async () => {
  // `bench.mjs` imports packages that a fresh clone does not have before `setup`.
  if (!process.argv.includes('--prebuilt')) await setup({ rust: false })
  const { bench } = await import('./bench.mjs')
  await bench(process.argv.slice(2))
})
