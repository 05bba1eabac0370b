import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { temporaryDirectory } from './temporary-directory.js'

/** Writes an app into a new folder and returns its path. */
export function writeApp(t: ExecutionContext, source: string, name = 'app.js'): string {
  const path = join(temporaryDirectory(t), name)
  writeFileSync(path, source)
  return path
}
