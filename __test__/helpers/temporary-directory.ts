import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'

/** Makes a directory that is removed at the end of the test. Its path is short enough for a Unix socket in it. */
export function temporaryDirectory(t: Pick<ExecutionContext, 'teardown'>): string {
  const directory = mkdtempSync(join(tmpdir(), 'ss-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}
