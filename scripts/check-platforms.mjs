// Type-checks the Rust of core and binding for platforms that this machine is not, so that a `cfg` for macOS or musl
// breaks here and not in a release. Only `cargo check`: no linker and no SDK of the other platform is needed.
//
//     npm run check:platforms                            every platform that is published
//     npm run check:platforms -- aarch64-apple-darwin    only these
//
// A toolchain's own standard library for the target is used where rustup has it. Where rustup cannot fetch one, Debian's
// second Rust (packages rustc-web, cargo-web, rust-web-src) builds the standard library from its sources.

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

/** Its own, or the two compilers would keep throwing away each other's work. */
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
      if (!(error instanceof Failed) || error.exitCode === 130) throw error
      console.error(`${error.message}\n`)
      failed += 1
    }
  }
  console.log(`${targets.length - failed} platforms passed, ${failed} failed`)
  if (failed > 0) process.exitCode = 1
})

/**
 * @param {string} target
 * @param {boolean} prebuilt whether the toolchain brings the target's standard library
 */
async function check(target, prebuilt) {
  const args = ['check', '-p', 'socketserver-core', '-p', 'socketserver-napi', '--lib', '--target', target]
  // musl links statically unless told otherwise, and then knows no cdylib: an addon is one. napi build says the same.
  const flags = target.endsWith('musl') ? { RUSTFLAGS: '-C target-feature=-crt-static' } : {}
  if (prebuilt) {
    await run('cargo', args, { env: { CARGO_TARGET_DIR: TARGET_DIRECTORY, ...flags } })
    return
  }
  await run('/usr/bin/cargo', [...args, '-Zbuild-std=std,panic_abort'], {
    env: {
      CARGO_TARGET_DIR: join(TARGET_DIRECTORY, 'std'),
      PATH: `/usr/bin:${process.env['PATH']}`,
      // -Zbuild-std is not stable yet, and Debian's Rust is a stable one.
      RUSTC_BOOTSTRAP: '1',
      RUSTC: '/usr/bin/rustc',
      ...flags,
    },
  })
}

/** @returns {Promise<Set<string>>} */
async function installedTargets() {
  try {
    const { output } = await capture('rustup', ['target', 'list', '--installed'], { quiet: true })
    return new Set(output.split('\n').filter((line) => line !== ''))
  } catch (error) {
    if (error instanceof Failed) return new Set()
    throw error
  }
}

/** @param {readonly string[]} missing */
async function requireDebianRust(missing) {
  if (existsSync('/usr/bin/cargo') && existsSync('/usr/lib/rustlib/src/rust/library/std')) return
  const advice =
    `No standard library for ${missing.join(', ')} is here. Either:\n` +
    `  rustup target add ${missing.join(' ')}\n` +
    `or, on Debian:\n  apt-get install ${DEBIAN_PACKAGES.join(' ')}`
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
