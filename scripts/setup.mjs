// Prepares a fresh clone: checks for Node and Rust, and installs the packages of package-lock.json. Every command calls
// `setup` first, so that one command is enough after `git clone`.

import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { capture, Failed, root, run, step } from './steps.mjs'

/** The checksum of the lock file that node_modules was installed from. */
const INSTALLED = join(root, 'node_modules', '.package-lock.sha256')

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
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
  if (existsSync(INSTALLED) && readFileSync(INSTALLED, 'utf8') === lock) return
  await step('Installing the development packages', () => run('npm', ['ci', '--loglevel=error']))
  writeFileSync(INSTALLED, lock)
}
