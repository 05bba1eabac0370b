// Makes the two tarballs that a release would publish for this machine, into build/pack: the package, and its binary
// for this platform. Installed together in an empty folder they need no Rust.
//
//     npm run pack:local
//     cd "$(mktemp -d)" && npm init -y && npm install <repository>/build/pack/*.tgz
//
//     npm run pack:local -- --built DIRECTORY    packs what is built already, into another folder
//
// The platform's package is put together in build/, from what `napi create-npm-dirs` wrote to npm/: `napi artifacts`
// asks for the binaries of every platform at once, which only a release has.

import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { build } from './build.mjs'
import { platform } from './platform.mjs'
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

/** @returns {string} the folder of this platform's package, complete with its binary */
function stagePlatform() {
  const name = platform()
  const from = join(root, 'npm', name)
  if (!existsSync(from)) {
    throw new Failed(`There is no package for ${name}. Published are: ${readdirSync(join(root, 'npm')).join(', ')}.`)
  }
  const to = join(root, 'build', 'npm', name)
  mkdirSync(to, { recursive: true })
  for (const file of ['package.json', 'README.md']) copyFileSync(join(from, file), join(to, file))
  const binary = `socketserver.${name}.node`
  copyFileSync(join(root, 'lib', 'binding', binary), join(to, binary))
  return to
}

/**
 * @param {string} folder
 * @returns {Promise<string>} the tarball's path
 */
async function pack(folder) {
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', OUTPUT]
  const { output, code } = await capture('npm', args, { cwd: folder, quiet: true })
  if (code !== 0) throw new Failed(`npm pack failed in ${folder}.`)
  return join(OUTPUT, filename(JSON.parse(output)))
}

/**
 * A list of packages up to npm 11, an object keyed by name from npm 12.
 *
 * @param {Record<string, { filename: string }>} packed
 */
function filename(packed) {
  const [first] = Object.values(packed)
  if (first === undefined) throw new Failed('npm pack made no tarball.')
  return first.filename.replace('@', '').replace('/', '-')
}
