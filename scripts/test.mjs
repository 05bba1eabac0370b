// Every test there is, from a fresh clone too: sets up, builds, runs the Rust tests and then the TypeScript tests, and
// closes with one line, `N passed, N failed`, that adds up both.
//
//     npm test                                         everything
//     npm test -- integration/http                     only the TypeScript tests whose path begins so
//     npm test -- integration/http --match='*upgrade*' what follows goes to ava
//     npm test -- benchmarks/test/*.mjs                 the tests of the benchmark, which need no compiling
//     npm test -- --prebuilt                           no Rust: the binary that lies in lib/binding is tested

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build, compile, copyBinding } from './build.mjs'
import { setup } from './setup.mjs'
import { capture, Failed, main, root, run, step } from './steps.mjs'
import { avaTally, cargoTally, sum } from './tally.mjs'

/**
 * @param {readonly string[]} args
 */
async function test(args) {
  const prebuilt = args.includes('--prebuilt')
  const forAva = args.filter((arg) => arg !== '--prebuilt').map(pattern)
  await setup({ rust: !prebuilt })
  const tallies = []
  if (!prebuilt && forAva.length === 0) tallies.push(await rustTests())
  if (prebuilt) await usePrebuilt()
  else await build()
  if (!prebuilt) await buildLoad()
  await compileTests()
  tallies.push(await typescriptTests(process.execPath, forAva))
  const { passed, failed } = sum(tallies)
  console.log(`${passed} passed, ${failed} failed`)
  if (failed > 0) process.exitCode = 1
}

/** Compiles the TypeScript tests, their fixtures and their type tests to build/test. */
export async function compileTests() {
  await step('Compiling the tests', () => compile('__test__/tsconfig.json', join(root, 'build', 'test')))
}

/**
 * Runs ava, and with it every process that the tests spawn, on one Node.
 *
 * @param {string} node path of the executable
 * @param {readonly string[]} args
 */
export async function typescriptTests(node, args) {
  return await step('Running the TypeScript tests', async () => {
    const ava = join(root, 'node_modules', 'ava', 'entrypoints', 'cli.mjs')
    const { output, code } = await capture(node, [ava, ...args], { echo: true, env: color('FORCE_COLOR', '1') })
    return avaTally(output, code)
  })
}

async function rustTests() {
  return await step('Running the Rust tests', async () => {
    const args = ['test', '--workspace', '--no-fail-fast']
    const { output, code } = await capture('cargo', args, { echo: true })
    return cargoTally(output, code)
  })
}

/** Before the tests that use it: they would build it only if it were missing, and take an old one for a new one. */
async function buildLoad() {
  await step('Building the load generator', async () => {
    await run('cargo', ['build', '--release', '--package', 'socketserver-load'])
  })
}

async function usePrebuilt() {
  await step('Compiling the TypeScript to dist/', async () => {
    await compile('tsconfig.json', join(root, 'dist'), [join('lib', 'binding')])
    copyBinding()
  })
}

/**
 * A path may be written as the source has it, with or without its ending; ava sees the compiled files.
 *
 * @param {string} arg
 */
export function pattern(arg) {
  if (arg.startsWith('-') || (existsSync(join(root, arg)) && /^(build|benchmarks)\//.test(arg))) return arg
  const path = arg.replace(/^(\.\/)?(__test__\/)?/, '').replace(/(\.test)?(\.[mc]?[tj]s)?$/, '')
  return `build/test/${path}${path.endsWith('/') || path.endsWith('*') ? '**' : '*'}`
}

/**
 * Through a pipe, ava would think that nobody is looking.
 *
 * @param {string} name
 * @param {string} value
 */
function color(name, value) {
  return process.stdout.isTTY && !process.env['NO_COLOR'] ? { [name]: value } : {}
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await main(async () => {
    try {
      await test(process.argv.slice(2))
    } catch (error) {
      // Whoever reads only the last line must not take a build that failed for tests that passed.
      if (error instanceof Failed && error.exitCode !== 130) {
        console.error(`\n${error.message}`)
        console.log('0 passed, 1 failed')
        throw new Failed('', error.exitCode)
      }
      throw error
    }
  })
}
