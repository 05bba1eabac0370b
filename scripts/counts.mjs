// Counts the tests that passed and failed. The reasons are in docs/decisions/0001-scripts-and-benchmark-libraries.md.

/** @typedef {{ passed: number, failed: number, failures?: readonly string[] }} Counts `failures` has the report of each failed test. */

/**
 * Counts the tests of `cargo test`, which prints one `test result:` line for each test program.
 *
 * @param {{ output: string, code: number }} finished
 */
export function countCargo({ output, code }) {
  const results = [...output.matchAll(/^test result: .*?(\d+) passed; (\d+) failed/gm)]
  const counts = total(results.map(([, passed, failed]) => ({ passed: Number(passed), failed: Number(failed) })))
  return matchExitCode({ ...counts, failures: matches(output, /^test (.+) \.\.\. FAILED$/gm) }, code)
}

/**
 * Counts the tests of `ava --tap`, which ends with the lines `# pass N` and `# fail N`.
 *
 * @param {{ output: string, code: number }} finished
 */
export function countTap({ output, code }) {
  const number = (/** @type {string} */ name) => Number(new RegExp(`^# ${name} (\\d+)$`, 'm').exec(output)?.[1] ?? 0)
  const failures = matches(output, /^not ok \d+ - (.+(?:\n {2}---\n(?: {4}.*\n)* {2}\.\.\.)?)/gm)
  return matchExitCode({ passed: number('pass'), failed: number('fail'), failures }, code)
}

/**
 * Prints the failed tests again, because their first reports may be thousands of lines above. Then prints the total as the
 * closing line of a command, and sets the exit code.
 *
 * @param {readonly Counts[]} counts
 */
export function reportTotal(counts) {
  const { passed, failed, failures } = total(counts)
  for (const name of failures) console.log(`failed: ${name}`)
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
  const sum = { passed: 0, failed: 0, failures: /** @type {string[]} */ ([]) }
  for (const { passed, failed, failures = [] } of counts) {
    sum.passed += passed
    sum.failed += failed
    sum.failures.push(...failures)
  }
  return sum
}

/**
 * @param {string} output
 * @param {RegExp} pattern with one group
 */
function matches(output, pattern) {
  return [...output.matchAll(pattern)].map(([, name = '']) => name)
}
