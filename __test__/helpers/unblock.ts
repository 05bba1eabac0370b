import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Teardown } from './load.js'
import { temporaryDirectory } from './temporary-directory.js'

/** Returns the environment of a fixture that blocks until the file UNBLOCK exists, and the function that creates this file. */
export function blocking(t: Teardown): { env: { UNBLOCK: string }; unblock: () => void } {
  const path = join(temporaryDirectory(t), 'unblock')
  return { env: { UNBLOCK: path }, unblock: () => writeFileSync(path, '') }
}
