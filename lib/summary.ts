import { type InspectOptionsStylized, inspect } from 'node:util'

/**
 * Returns what `console.log()` prints for an object: its name and these fields, or only the name below the depth limit.
 */
export function summary(name: string, fields: object, depth: number, options: InspectOptionsStylized): string {
  if (depth < 0) return options.stylize(`[${name}]`, 'special')
  return `${name} ${inspect(fields, { ...options, depth })}`
}
