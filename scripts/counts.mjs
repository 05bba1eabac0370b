// Counts the tests that passed and failed. Why this way: docs/decisions/0001-scripts-and-benchmark-libraries.md.

/** @typedef {{ passed: number, failed: number }} Counts */

/**
 * Counts the tests of `cargo test`, which prints one `test result:` line for each test program.
 *
 * @param {{ output: string, code: number }} finished
 */
export function countCargo({ output, code }) {
  const results = [...output.matchAll(/^test result: .*?(\d+) passed; (\d+) failed/gm)]
  return matchExitCode(
    total(results.map(([, passed, failed]) => ({ passed: Number(passed), failed: Number(failed) }))),
    code,
  )
}

/**
 * Counts the tests of `ava --tap`, which ends with the lines `# pass N` and `# fail N`.
 *
 * @param {{ output: string, code: number }} finished
 */
export function countTap({ output, code }) {
  const number = (/** @type {string} */ name) => Number(new RegExp(`^# ${name} (\\d+)$`, 'm').exec(output)?.[1] ?? 0)
  return matchExitCode({ passed: number('pass'), failed: number('fail') }, code)
}

/**
 * Prints the total as the closing line of a command, and sets the exit code.
 *
 * @param {readonly Counts[]} counts
 */
export function reportTotal(counts) {
  const { passed, failed } = total(counts)
  console.log(`${passed} passed, ${failed} failed`)
  if (failed > 0) process.exitCode = 1
}

/**
 * Adds one failure if the command failed but counted none: a test program that does not compile, or that crashes, has no
 * result.
 *
 * @param {Counts} counts
 * @param {number} code
 */
function matchExitCode(counts, code) {
  return code !== 0 && counts.failed === 0 ? { ...counts, failed: 1 } : counts
}

/** @param {readonly Counts[]} counts */
function total(counts) {
  const sum = { passed: 0, failed: 0 }
  for (const { passed, failed } of counts) {
    sum.passed += passed
    sum.failed += failed
  }
  return sum
}
