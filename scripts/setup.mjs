// Makes a fresh clone ready: the tools are there, or the reader is told exactly what to install, and node_modules is
// what package-lock.json says. Every other command calls it first, so that one command is enough after `git clone`.

import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { capture, Failed, main, root, run, step } from './steps.mjs'

const LOCK = join(root, 'package-lock.json')
const STAMP = join(root, 'node_modules', '.package-lock.sha256')

/**
 * @param {{ rust?: boolean }} [needs] rust: false where only built files are run
 */
export async function setup({ rust = true } = {}) {
  requireNode()
  if (rust) await requireRust()
  await installPackages()
}

function requireNode() {
  const { engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const wanted = engines.node.replace('>=', '')
  if (older(process.versions.node, wanted)) {
    throw new Failed(
      `Node ${wanted} or newer is needed; this is ${process.versions.node}. Get it from https://nodejs.org/.`,
    )
  }
}

async function requireRust() {
  const wanted = /rust-version = "([\d.]+)"/.exec(readFileSync(join(root, 'Cargo.toml'), 'utf8'))?.[1] ?? '0'
  const found = await version('cargo')
  if (found === undefined) {
    throw new Failed(
      `Rust ${wanted} or newer is needed to build the addon, and cargo is not on the PATH.\n` +
        'Install it from https://rustup.rs/, open a new terminal, and run this command again.',
    )
  }
  if (older(found, wanted)) {
    throw new Failed(`Rust ${wanted} or newer is needed; this is ${found}. With rustup: rustup update stable`)
  }
  if ((await version('cc')) === undefined) {
    const install = process.platform === 'darwin' ? 'xcode-select --install' : 'apt-get install build-essential'
    throw new Failed(`Rust needs a C compiler to link with, and there is no cc on the PATH. Install one: ${install}`)
  }
}

async function installPackages() {
  const lock = createHash('sha256').update(readFileSync(LOCK)).digest('hex')
  if (stamp() === lock) return
  await step('Installing the development packages (npm ci)', async () => {
    await run('npm', ['ci', '--loglevel=error'])
    writeFileSync(STAMP, lock)
  })
}

function stamp() {
  try {
    return readFileSync(STAMP, 'utf8')
  } catch {
    return undefined
  }
}

/** @param {string} command */
async function version(command) {
  try {
    const { output, code } = await capture(command, ['--version'], { quiet: true })
    return code === 0 ? (/(\d+\.\d+(\.\d+)?)/.exec(output)?.[1] ?? '0') : undefined
  } catch (error) {
    if (error instanceof Failed) return undefined
    throw error
  }
}

/**
 * @param {string} found
 * @param {string} wanted
 */
function older(found, wanted) {
  return found.localeCompare(wanted, 'en', { numeric: true }) < 0
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main(() => setup())
