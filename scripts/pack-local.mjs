// Packs the two tarballs that a release would publish for this machine into build/pack: the package, and the binary
// package of this platform. Installing both needs no Rust.
//
//     npm run pack:local
//     cd "$(mktemp -d)" && npm init -y && npm install <repository>/build/pack/*.tgz
//
//     npm run pack:local -- --built DIRECTORY    packs the last build into DIRECTORY
//
// `napi artifacts` needs the binaries of all platforms, so this script copies the one binary itself.

import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { build } from './build.mjs'
import { setup } from './setup.mjs'
import { capture, Failed, main, root, step } from './steps.mjs'

const [option, directory] = process.argv.slice(2)
const OUTPUT = option === '--built' && directory ? resolve(directory) : join(root, 'build', 'pack')

await main(async () => {
  if (option !== '--built') {
    await setup()
    await build()
  }
  rmSync(OUTPUT, { recursive: true, force: true })
  mkdirSync(OUTPUT, { recursive: true })
  await step('Packing', async () => {
    const tarballs = [await pack(root), await pack(stagePlatform())]
    for (const tarball of tarballs) console.log(relative(process.cwd(), tarball))
  })
})

/** Returns the folder of this platform's package, with the binary in it. */
function stagePlatform() {
  const name = platform()
  const from = join(root, 'npm', name)
  if (!existsSync(from)) {
    throw new Failed(`There is no package for ${name}, only for ${readdirSync(join(root, 'npm')).join(', ')}.`)
  }
  const to = join(root, 'build', 'npm', name)
  mkdirSync(to, { recursive: true })
  for (const file of ['package.json', 'README.md']) copyFileSync(join(from, file), join(to, file))
  const binary = `socketserver.${name}.node`
  copyFileSync(join(root, 'lib', 'binding', binary), join(to, binary))
  return to
}

/** Returns this platform's name in napi and npm, for example `linux-x64-gnu` or `darwin-arm64`. */
function platform() {
  const { platform, arch } = process
  if (platform !== 'linux') return `${platform}-${arch}`
  const report = process.report.getReport()
  const header = typeof report === 'object' && 'header' in report ? report.header : undefined
  // Only glibc reports a version.
  const glibc = typeof header === 'object' && header !== null && 'glibcVersionRuntime' in header
  return `linux-${arch}-${glibc ? 'gnu' : 'musl'}`
}

/**
 * Packs a folder and returns the tarball's path.
 *
 * @param {string} folder
 */
async function pack(folder) {
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', OUTPUT]
  const { output, code } = await capture('npm', args, { cwd: folder, quiet: true })
  if (code !== 0) throw new Failed(`npm pack failed in ${folder}.`)
  return join(OUTPUT, filename(JSON.parse(output)))
}

/**
 * Returns the tarball's name from the output of `npm pack --json`: a list up to npm 11, an object from npm 12 on.
 *
 * @param {Record<string, { filename: string }>} packed
 */
function filename(packed) {
  const [first] = Object.values(packed)
  if (first === undefined) throw new Failed('npm pack made no tarball.')
  return first.filename.replace('@', '').replace('/', '-')
}
