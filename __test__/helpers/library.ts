import { join } from 'node:path'
import type { RestartPolicy } from '../../dist/lib/server/restart-policy.js'

/** A module that the package keeps to itself, for a unit test: by its path below lib/, as compiled. */
export function library(path: 'server/restart-policy'): { RestartPolicy: typeof RestartPolicy }
export function library(path: string): unknown {
  return require(join(__dirname, '..', '..', '..', 'dist', 'lib', path))
}
