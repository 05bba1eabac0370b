// Runs the fuzz targets of crates/core/fuzz, which decode bytes that a hostile peer could send. Needs a nightly Rust.
// Installs cargo-fuzz into target/tools if it is missing.
//
//     npm run fuzz                       60 seconds for each target
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
    throw new Failed(`--seconds must be a whole number greater than 0, not '${values.seconds}'.`)
  }
  await setup()
  const env = { PATH: [join(TOOLS, 'bin'), process.env['PATH']].join(delimiter) }
  await requireNightly()
  if ((await capture('cargo', ['fuzz', '--version'], { env, quiet: true })).code !== 0) {
    await step('Installing cargo-fuzz into target/tools', () =>
      run('cargo', ['install', 'cargo-fuzz', '--locked', '--root', TOOLS]),
    )
  }
  // A fuzz target that exits does not remove its temporary files.
  const scratch = mkdtempSync(join(tmpdir(), 'socketserver-fuzz-'))
  const options = { cwd: CRATE, env: { ...env, TMPDIR: scratch } }
  try {
    for (const target of values.target ?? targets()) {
      await step(`Fuzzing ${target} for ${values.seconds} s`, () =>
        run('cargo', ['+nightly', 'fuzz', 'run', target, '--', `-max_total_time=${values.seconds}`], options),
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
