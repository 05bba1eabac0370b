import { resolve } from 'node:path'
import type { ConfigKey, GivenSettings } from './given.js'
import { stringOf, stringsOf } from './values.js'

/** Resolves the paths in a config file against the folder of the file. */
export function anchored(given: GivenSettings, folder: string): GivenSettings {
  const result: GivenSettings = { ...given, cwd: { name: 'cwd', value: folder } }
  for (const key of PATHS) {
    const setting = given[key]
    if (setting === undefined) continue
    const { name, value } = setting
    const absolute = Array.isArray(value)
      ? stringsOf(name, value).map((path) => resolve(folder, path))
      : resolve(folder, stringOf(name, value))
    result[key] = { name, value: absolute }
  }
  if (given.bind !== undefined) result.bind = { ...given.bind, value: anchoredBind(given.bind.value, folder) }
  return result
}

function anchoredBind(value: unknown, folder: string): unknown {
  if (Array.isArray(value)) return value.map((item) => anchoredBind(item, folder))
  const [, path] = typeof value === 'string' ? (/^unix:(.+)$/.exec(value) ?? []) : []
  return path === undefined ? value : `unix:${resolve(folder, path)}`
}

const PATHS: readonly ConfigKey[] = ['cwd', 'envFile', 'pidFile', 'control']
