// Runs unmodified apps of frameworks by the command `socketserver run`. They are a package of their own, __test__/apps, because
// their frameworks are large.
//
//     npm run test:apps                                all; the last line is `N passed, N failed`
//     npm run test:apps -- --match='Express*'          other arguments are passed to ava
//     npm run test:apps -- --prebuilt                  with the addon in lib/binding; needs no Rust

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { build, buildTypeScript } from './build.mjs'
import { countTap, reportTotal } from './counts.mjs'
import { installLocked, setup } from './setup.mjs'
import { capture, Failed, main, root, run, step } from './steps.mjs'
import { AVA } from './test.mjs'

const APPS = join(root, '__test__', 'apps')
const NEXT = join(APPS, 'fixtures', 'next')

await main(async () => {
  const args = process.argv.slice(2)
  const rust = !args.includes('--prebuilt')
  const forAva = args.filter((arg) => arg !== '--prebuilt')
  const counts = []
  try {
    await setup({ rust })
    await (rust ? build() : buildTypeScript())
    await installLocked(APPS, 'Installing the frameworks of the apps')
    await buildNext()
    counts.push(
      await step('Running the apps', async () =>
        countTap(await capture(process.execPath, [AVA, '--tap', ...forAva], { cwd: APPS, echo: true })),
      ),
    )
  } catch (error) {
    if (!(error instanceof Failed)) throw error
    console.error(`\n${error.message}`)
    // A failed build counts as a failure, so that the last line never reports success.
    counts.push({ passed: 0, failed: 1 })
  }
  reportTotal(counts)
})

/** Builds the app of Next, with its standalone server. */
async function buildNext() {
  await step('Building the app of Next', async () => {
    rmSync(join(NEXT, '.next'), { recursive: true, force: true })
    const next = join(APPS, 'node_modules', 'next', 'dist', 'bin', 'next')
    const env = { NEXT_STANDALONE: '1', NEXT_TELEMETRY_DISABLED: '1', NODE_ENV: 'production' }
    await run(process.execPath, [next, 'build'], { cwd: NEXT, env })
  })
}
