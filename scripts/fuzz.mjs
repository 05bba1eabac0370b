// Throws bytes at what a hostile peer could send, for a given time: each fuzz target of crates/core/fuzz in turn.
// cargo-fuzz needs a nightly Rust; it is installed into target/tools when it is missing, and nowhere else.
//
//     npm run fuzz                       60 seconds a target
//     npm run fuzz -- --seconds 600
//     npm run fuzz -- --target frame

import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { parseArgs } from 'node:util'
import { setup } from './setup.mjs'
import { capture, Failed, main, root, run, step } from './steps.mjs'

const CRATE = join(root, 'crates', 'core')
const TOOLS = join(root, 'target', 'tools')

await main(async () => {
  const { values } = parseArgs({
    options: { seconds: { type: 'string', default: '60' }, target: { type: 'string', multiple: true } },
  })
  if (!/^[1-9]\d*$/.test(values.seconds)) {
    throw new Failed(`--seconds takes a whole number of seconds, not '${values.seconds}'.`)
  }
  await setup()
  const env = { PATH: [join(TOOLS, 'bin'), process.env['PATH']].join(delimiter) }
  await requireNightly()
  if ((await capture('cargo', ['fuzz', '--version'], { env, quiet: true })).code !== 0) {
    await step('Installing cargo-fuzz into target/tools', () =>
      run('cargo', ['install', 'cargo-fuzz', '--locked', '--root', TOOLS]),
    )
  }
  // A target ends without a word, and what it has left in its folder for temporary files is swept up here.
  const scratch = mkdtempSync(join(tmpdir(), 'socketserver-fuzz-'))
  const within = { cwd: CRATE, env: { ...env, TMPDIR: scratch } }
  try {
    for (const target of values.target ?? targets()) {
      await step(`Fuzzing ${target} for ${values.seconds} s`, () =>
        run('cargo', ['+nightly', 'fuzz', 'run', target, '--', `-max_total_time=${values.seconds}`], within),
      )
    }
  } finally {
    rmSync(scratch, { recursive: true })
  }
})

function targets() {
  const folder = join(CRATE, 'fuzz', 'fuzz_targets')
  if (!existsSync(folder)) throw new Failed('crates/core/fuzz has no targets.')
  return readdirSync(folder).flatMap((file) => (file.endsWith('.rs') ? [file.slice(0, -3)] : []))
}

async function requireNightly() {
  const { code } = await capture('cargo', ['+nightly', '--version'], { quiet: true })
  if (code !== 0) throw new Failed('Fuzzing needs a nightly Rust: rustup toolchain install nightly')
}
