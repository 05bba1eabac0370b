// Type-checks the Rust code for other platforms, so that an error behind a `cfg` for macOS or musl is found before a
// release. `cargo check` needs no linker and no SDK of the other platform.
//
//     npm run check:platforms                            every published platform
//     npm run check:platforms -- aarch64-apple-darwin    only these platforms
//
// Uses the target's standard library from rustup if it is installed. Otherwise Debian's second Rust (packages rustc-web,
// cargo-web, rust-web-src) builds the standard library from its sources.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { capture, Failed, main, root, run, step } from './steps.mjs'

const TARGETS = [
  'aarch64-apple-darwin',
  'x86_64-apple-darwin',
  'x86_64-unknown-linux-musl',
  'aarch64-unknown-linux-musl',
  'aarch64-unknown-linux-gnu',
]

const DEBIAN_PACKAGES = ['rustc-web', 'cargo-web', 'rust-web-src']

/** Separate from `target/`, because two compilers would invalidate each other's output there. */
const TARGET_DIRECTORY = join(root, 'target', 'platforms')

await main(async () => {
  const targets = process.argv.length > 2 ? process.argv.slice(2) : TARGETS
  const installed = await installedTargets()
  const missing = targets.filter((target) => !installed.has(target))
  if (missing.length > 0) await requireDebianRust(missing)
  let failed = 0
  for (const target of targets) {
    try {
      await step(`Checking core and binding for ${target}`, () => check(target, installed.has(target)))
    } catch (error) {
      if (!(error instanceof Failed)) throw error
      console.error(`${error.message}\n`)
      failed += 1
    }
  }
  console.log(`${targets.length - failed} platforms passed, ${failed} failed`)
  if (failed > 0) process.exitCode = 1
})

/**
 * @param {string} target
 * @param {boolean} prebuilt whether the toolchain has the target's standard library
 */
async function check(target, prebuilt) {
  const args = ['check', '-p', 'socketserver-core', '-p', 'socketserver-napi', '--lib', '--target', target]
  // The musl targets link statically by default and then cannot build a cdylib. `napi build` sets the same flag.
  const flags = target.endsWith('musl') ? { RUSTFLAGS: '-C target-feature=-crt-static' } : {}
  if (prebuilt) {
    await run('cargo', args, { env: { CARGO_TARGET_DIR: TARGET_DIRECTORY, ...flags } })
    return
  }
  await run('/usr/bin/cargo', [...args, '-Zbuild-std=std,panic_abort'], {
    env: {
      CARGO_TARGET_DIR: join(TARGET_DIRECTORY, 'std'),
      PATH: `/usr/bin:${process.env['PATH']}`,
      // -Zbuild-std is unstable, and Debian's Rust is a stable release.
      RUSTC_BOOTSTRAP: '1',
      RUSTC: '/usr/bin/rustc',
      ...flags,
    },
  })
}

/** Returns the targets that rustup has a standard library for; none without rustup. */
async function installedTargets() {
  const { output } = await capture('rustup', ['target', 'list', '--installed'], { quiet: true })
  return new Set(output.split('\n').filter((line) => line !== ''))
}

/**
 * Makes sure that Debian's second Rust is installed. Installs it if this is Debian and the user is root.
 *
 * @param {readonly string[]} missing
 */
async function requireDebianRust(missing) {
  if (existsSync('/usr/bin/cargo') && existsSync('/usr/lib/rustlib/src/rust/library/std')) return
  const advice =
    `The Rust standard library for ${missing.join(', ')} is not installed. Run one of:\n` +
    `  rustup target add ${missing.join(' ')}\n` +
    `  apt-get install ${DEBIAN_PACKAGES.join(' ')}   (on Debian)`
  if (!existsSync('/usr/bin/apt-get') || process.getuid?.() !== 0) throw new Failed(advice)
  await step(`Installing ${DEBIAN_PACKAGES.join(', ')}`, async () => {
    try {
      await run('apt-get', ['update', '-q'])
      const quiet = { DEBIAN_FRONTEND: 'noninteractive' }
      await run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...DEBIAN_PACKAGES], { env: quiet })
    } catch (error) {
      throw error instanceof Failed ? new Failed(`${error.message}\n${advice}`) : error
    }
  })
}
