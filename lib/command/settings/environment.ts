import { readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { CommandError, EXIT, reasonOf, usageError } from '../command-error.js'
import { shown } from './values.js'

/** The sources of the workers' environment. Later sources take precedence. */
export interface EnvironmentSources {
  /** Files of `NAME=value` lines. As with `node --env-file`, the variables of this process take precedence. */
  envFiles: readonly string[]
  /** The variables of the config file. */
  config: Readonly<Record<string, string>>
  /** The variables that options set, such as PORT. */
  options: Readonly<Record<string, string>>
}

/** Returns the environment of the workers. Reads the files each time, so that a reload applies their changes. */
export function environmentOf({ envFiles, config, options }: EnvironmentSources): NodeJS.ProcessEnv {
  const files = envFiles.map((path) => parseEnvFile(path))
  return Object.assign({}, ...files, process.env, config, options)
}

function parseEnvFile(path: string): NodeJS.Dict<string> {
  try {
    return parseEnv(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new CommandError(`the env file ${path} cannot be read: ${reasonOf(error)}`, EXIT.failed, error)
  }
}

/** Returns variables from the `env` of a config file: strings, numbers and booleans. */
export function variablesOf(name: string, value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw usageError(`${name} must be an object of variables, not ${shown(value)}`)
  }
  const variables: Record<string, string> = {}
  for (const [key, item] of Object.entries(value)) {
    if (item === undefined || item === null) continue
    if (!['string', 'number', 'boolean'].includes(typeof item)) {
      throw usageError(`${name}: the variable ${key} must be a string, a number or a boolean, not ${shown(item)}`)
    }
    variables[key] = String(item)
  }
  return variables
}
