import { type InspectOptionsStylized, inspect } from 'node:util'

/**
 * Returns what `console.log()` prints of an object: its name and these fields; the name alone, as for any object, where it is too
 * deep inside another.
 */
export function summary(name: string, fields: object, depth: number, options: InspectOptionsStylized): string {
  if (depth < 0) return options.stylize(`[${name}]`, 'special')
  return `${name} ${inspect(fields, { ...options, depth })}`
}
