// Prepares a fresh clone: checks for Node and Rust, and installs the packages of package-lock.json. Every command calls
// `setup` first, so that one command is enough after `git clone`.

import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { capture, Failed, root, run, step } from './steps.mjs'

/** @param {{ rust?: boolean }} [needs] `rust: false` if the command compiles no Rust */
export async function setup({ rust = true } = {}) {
  const { engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const oldest = engines.node.replace('>=', '')
  if (process.versions.node.localeCompare(oldest, 'en', { numeric: true }) < 0) {
    throw new Failed(`Node ${oldest} or newer is required, but this is Node ${process.versions.node}.`)
  }
  if (rust && (await capture('cargo', ['--version'], { quiet: true })).code !== 0) {
    throw new Failed('Rust is required, but `cargo` does not run. Install Rust from https://rustup.rs/ and try again.')
  }
  await installLocked(root, 'Installing the development packages')
}

/**
 * Installs the packages that the lock file of a folder names, unless they are installed.
 *
 * @param {string} folder
 * @param {string} title
 */
export async function installLocked(folder, title) {
  const lock = createHash('sha256')
    .update(readFileSync(join(folder, 'package-lock.json')))
    .digest('hex')
  /** The checksum of the lock file that node_modules was installed from. */
  const installed = join(folder, 'node_modules', '.package-lock.sha256')
  if (existsSync(installed) && readFileSync(installed, 'utf8') === lock) return
  await step(title, () => run('npm', ['ci', '--loglevel=error'], { cwd: folder }))
  writeFileSync(installed, lock)
}
