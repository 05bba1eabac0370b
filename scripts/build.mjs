// Builds the package: the addon and its generated loader and types (lib/binding), then the TypeScript (dist).
//
//     npm run build                                         for this machine
//     npm run build -- --target aarch64-unknown-linux-gnu   arguments are passed to `napi build`

import { chmodSync, cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { setup } from './setup.mjs'
import { main, root, run, step } from './steps.mjs'

const BINDING = join('lib', 'binding')
const NAPI_ARGUMENTS = [
  ...['--platform', '--release'],
  ...['--manifest-path', 'crates/napi/Cargo.toml'],
  ...['--package-json-path', 'package.json'],
  ...['--output-dir', BINDING, '--js', 'index.js', '--dts', 'index.d.ts'],
]

/** @param {readonly string[]} [napiArguments] */
export async function build(napiArguments = []) {
  await step('Building the addon (the first build takes a minute or two)', () =>
    run(join(root, 'node_modules', '.bin', 'napi'), ['build', ...NAPI_ARGUMENTS, ...napiArguments]),
  )
  await buildTypeScript()
}

/** Builds dist/ with the addon that is already in lib/binding. Needs no Rust. */
export async function buildTypeScript() {
  await step('Compiling the TypeScript to dist/', async () => {
    await compile('tsconfig.json', join(root, 'dist'))
    cpSync(join(root, BINDING), join(root, 'dist', BINDING), { recursive: true })
    // npm makes the commands of installed packages executable; `npx socketserver` in this folder runs the file itself.
    chmodSync(join(root, 'dist', 'lib', 'command', 'main.js'), 0o755)
  })
}

/**
 * Compiles a TypeScript project. Empties the output folder first, so that no output of a deleted source stays behind.
 *
 * @param {string} project
 * @param {string} output
 */
export async function compile(project, output) {
  rmSync(output, { recursive: true, force: true })
  await run(join(root, 'node_modules', '.bin', 'tsc'), ['-p', project])
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await main(async () => {
    await setup()
    await build(process.argv.slice(2))
  })
}
