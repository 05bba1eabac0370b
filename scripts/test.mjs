// Runs the tests. Prepares and builds a fresh clone first.
//
//     npm test                                         all Rust and TypeScript tests; the last line is `N passed, N failed`
//     npm test -- serve/http                           the TypeScript tests whose path begins like that, with ava's own report
//     npm test -- serve/http --match='*upgrade*'       options are passed to ava
//     npm test -- benchmarks/test/*.mjs                the tests of the benchmark
//     npm test -- --prebuilt                           the TypeScript tests with the addon in lib/binding; needs no Rust

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build, buildTypeScript, compile } from './build.mjs'
import { countCargo, countTap, reportTotal } from './counts.mjs'
import { setup } from './setup.mjs'
import { capture, Failed, main, root, run, step } from './steps.mjs'

/** The program that runs the TypeScript tests. */
export const AVA = join(root, 'node_modules', 'ava', 'entrypoints', 'cli.mjs')

/** @param {readonly string[]} args */
async function test(args) {
  const rust = !args.includes('--prebuilt')
  const forAva = args.filter((arg) => arg !== '--prebuilt').map(pattern)
  if (forAva.length === 0) return await testAll(rust)
  await setup({ rust })
  await prepare(rust)
  await run(process.execPath, [AVA, ...forAva])
}

/** @param {boolean} rust */
async function testAll(rust) {
  const counts = []
  try {
    await setup({ rust })
    if (rust) counts.push(await rustTests())
    await prepare(rust)
    counts.push(await typescriptTests(process.execPath, []))
  } catch (error) {
    if (!(error instanceof Failed)) throw error
    console.error(`\n${error.message}`)
    // A failed build counts as a failure, so that the last line never reports success.
    counts.push({ passed: 0, failed: 1 })
  }
  reportTotal(counts)
}

/**
 * Builds everything that the TypeScript tests run.
 *
 * @param {boolean} rust
 */
async function prepare(rust) {
  if (rust) {
    await build()
    // The tests build the load generator only if it is missing; an old one would stay.
    await step('Building the load generator', () =>
      run('cargo', ['build', '--release', '--package', 'socketserver-load']),
    )
  } else {
    await buildTypeScript()
  }
  await compileTests()
}

/** Compiles the TypeScript tests, their fixtures and their type tests to build/test. */
export async function compileTests() {
  await step('Compiling the tests', () => compile('__test__/tsconfig.json', join(root, 'build', 'test')))
}

async function rustTests() {
  return await step('Running the Rust tests', async () =>
    countCargo(await capture('cargo', ['test', '--workspace', '--no-fail-fast'], { echo: true })),
  )
}

/**
 * Runs the TypeScript tests, and every process that they start, on one Node. Returns the counts.
 *
 * @param {string} node path of the executable
 * @param {readonly string[]} args
 */
export async function typescriptTests(node, args) {
  return await step('Running the TypeScript tests', async () =>
    countTap(await capture(node, [AVA, '--tap', ...args], { echo: true })),
  )
}

/**
 * Returns the pattern of compiled test files for a path in `__test__`, with or without its file extension. Options and
 * paths in `build/` and `benchmarks/` stay as they are.
 *
 * @param {string} arg
 */
export function pattern(arg) {
  if (arg.startsWith('-') || (existsSync(join(root, arg)) && /^(build|benchmarks)\//.test(arg))) return arg
  const path = arg.replace(/^(\.\/)?(__test__\/)?/, '').replace(/(\.test)?(\.[mc]?[tj]s)?$/, '')
  return `build/test/${path}${path.endsWith('/') || path.endsWith('*') ? '**' : '*'}`
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main(() => test(process.argv.slice(2)))
