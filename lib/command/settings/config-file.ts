import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { nearestOf } from '../../known-options.js'
import { reasonOf, usageError } from '../command-error.js'
import { anchored } from './anchored.js'
import { type EcosystemChoice, readEcosystem } from './ecosystem.js'
import { CONFIG_KEYS, type GivenSettings } from './given.js'

/** Returns the config file of a folder; undefined if it has none. */
export function findConfigFile(folder: string): string | undefined {
  return DEFAULT_NAMES.map((name) => resolve(folder, name)).find((path) => existsSync(path))
}

/** Returns whether this is the name of a config file, not of an app. */
export function isConfigFile(path: string): boolean {
  const name = basename(path)
  return /\.config\.(js|cjs|mjs|json)$/.test(name) || /^(ecosystem|pm2|process)\.json$/.test(name)
}

/** Reads a config file of this package or of PM2. Throws a usage error for unknown keys and invalid values. */
export async function readConfigFile(path: string, choice: EcosystemChoice): Promise<GivenSettings> {
  const file = resolve(path)
  const config = await load(file)
  const apps: unknown = Array.isArray(config) ? config : Reflect.get(config, 'apps')
  if (apps !== undefined) return readEcosystem(file, apps, choice)
  for (const [option, value] of Object.entries(choice)) {
    if (value !== undefined && option !== 'note') {
      throw usageError(`option --${option} is for PM2's ecosystem files, and ${path} is none`)
    }
  }
  return readOwn(file, config)
}

async function load(file: string): Promise<object> {
  if (!existsSync(file)) throw usageError(`there is no config file ${file}`)
  let config: unknown
  try {
    config = file.endsWith('.json') ? JSON.parse(readFileSync(file, 'utf8')) : await importDefault(file)
  } catch (error) {
    throw usageError(`the config file ${file} cannot be read: ${reasonOf(error)}`)
  }
  if (typeof config === 'object' && config !== null) return config
  throw usageError(`the config file ${file} must export an object`)
}

async function importDefault(file: string): Promise<unknown> {
  const module: object = await import(pathToFileURL(file).href)
  return Reflect.get(module, 'default')
}

function readOwn(file: string, config: object): GivenSettings {
  const given: GivenSettings = {}
  for (const [key, value] of Object.entries(config)) {
    if (value === undefined) continue
    const known = CONFIG_KEYS.find((candidate) => candidate === key)
    if (known === undefined) throw unknownKey(file, key)
    given[known] = { name: `'${key}' in ${basename(file)}`, value }
  }
  return anchored(given, dirname(file))
}

function unknownKey(file: string, key: string): Error {
  const nearest = nearestOf(key, CONFIG_KEYS)
  const hint = nearest === undefined ? `known are ${CONFIG_KEYS.join(', ')}` : `did you mean '${nearest}'?`
  return usageError(`unknown key '${key}' in ${file}; ${hint}`)
}

const DEFAULT_NAMES = [
  'socketserver.config.js',
  'socketserver.config.mjs',
  'socketserver.config.cjs',
  'socketserver.config.json',
]
