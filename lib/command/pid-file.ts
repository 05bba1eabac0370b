import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { CommandError, EXIT, reasonOf } from './command-error.js'

/** Writes this process's id to a file, atomically. Returns a function that removes the file if it still contains this id. */
export function writePidFile(path: string): () => void {
  const temporary = `${path}.${process.pid}`
  try {
    writeFileSync(temporary, `${process.pid}\n`)
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw new CommandError(`the pid file ${path} cannot be written: ${reasonOf(error)}`, EXIT.failed, error)
  }
  return () => {
    try {
      if (readFileSync(path, 'utf8') === `${process.pid}\n`) rmSync(path)
    } catch {
      // Another process has removed the file.
    }
  }
}
