// Builds the package: the addon and its typings (lib/binding), then the TypeScript, to dist/. One place, because the
// loader that napi generates must stand beside the compiled files and not only beside the sources.
//
//     npm run build                                         for this machine
//     npm run build -- --target aarch64-unknown-linux-gnu   what follows goes to `napi build`

import { copyFileSync, mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { setup } from './setup.mjs'
import { capture, Failed, main, root, run, step } from './steps.mjs'

const GENERATED = join(root, 'lib', 'binding')
const DIST = join(root, 'dist')

/**
 * @param {readonly string[]} [napiArguments]
 */
export async function build(napiArguments = []) {
  await step('Building the addon in release mode (the first time takes a minute or two)', () => addon(napiArguments))
  await step('Compiling the TypeScript to dist/', async () => {
    await compile('tsconfig.json', DIST, [join('lib', 'binding')])
    copyBinding()
  })
}

/**
 * Compiles one project and removes from its output folder what no source produces any more: a test that was deleted
 * must not go on being run.
 *
 * @param {string} project
 * @param {string} output
 * @param {readonly string[]} [kept] folders in `output` that are not the compiler's
 */
export async function compile(project, output, kept = []) {
  const tsc = join(root, 'node_modules', '.bin', 'tsc')
  const { output: text, code } = await capture(tsc, ['-p', project, '--listEmittedFiles', '--pretty', 'false'])
  const lines = text.split('\n')
  const messages = lines.filter((line) => line !== '' && !line.startsWith('TSFILE: '))
  if (messages.length > 0) console.log(messages.join('\n'))
  if (code !== 0) throw new Failed(`The TypeScript of ${project} has errors.`)
  const emitted = new Set(
    lines.flatMap((line) => (line.startsWith('TSFILE: ') ? [join(root, rooted(line.slice(8)))] : [])),
  )
  prune(output, emitted, new Set(kept.map((folder) => join(output, folder))))
}

/** The built addon for this machine needs no Rust: only its loader and typings are copied. */
export function copyBinding() {
  const target = join(DIST, 'lib', 'binding')
  mkdirSync(target, { recursive: true })
  for (const name of readdirSync(GENERATED)) {
    if (name.startsWith('.')) continue
    const from = join(GENERATED, name)
    const to = join(target, name)
    if (same(from, to)) continue
    // By rename: a process that has the old file mapped keeps it, where a copy over it would crash that process.
    copyFileSync(from, `${to}.new`)
    renameSync(`${to}.new`, to)
  }
}

/** @param {readonly string[]} napiArguments */
async function addon(napiArguments) {
  await run(join(root, 'node_modules', '.bin', 'napi'), [
    'build',
    '--platform',
    '--release',
    '--manifest-path',
    'crates/napi/Cargo.toml',
    '--package-json-path',
    'package.json',
    '--output-dir',
    'lib/binding',
    '--js',
    'index.js',
    '--dts',
    'index.d.ts',
    ...napiArguments,
  ])
}

/**
 * @param {string} folder
 * @param {Set<string>} emitted
 * @param {Set<string>} kept
 */
function prune(folder, emitted, kept) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (kept.has(path)) continue
    if (!entry.isDirectory()) {
      if (!emitted.has(path)) rmSync(path)
      continue
    }
    prune(path, emitted, kept)
    if (readdirSync(path).length === 0) rmdirSync(path)
  }
}

/** @param {string} path */
function rooted(path) {
  return path.startsWith('/') ? relative(root, path) : path
}

/**
 * @param {string} one
 * @param {string} other
 */
function same(one, other) {
  try {
    return readFileSync(one).equals(readFileSync(other))
  } catch {
    return false
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await main(async () => {
    await setup()
    await build(process.argv.slice(2))
  })
}
