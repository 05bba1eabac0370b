// An unknown option is an error: a mistyped option would silently have no effect.

import { invalidValue } from './errors.js'

/**
 * Throws ERR_INVALID_ARG_VALUE for a property that is not in `known`, and suggests the nearest known name. `refused` has the
 * messages for options that exist elsewhere in Node and are not supported. Ignores properties that are undefined.
 */
export function checkKnownOptions(
  name: string,
  options: object,
  known: readonly string[],
  refused: Readonly<Record<string, string>> = {},
): void {
  // `for ... in` includes inherited options, because they are read like own ones.
  for (const key in options) {
    const value: unknown = Reflect.get(options, key)
    if (value === undefined || known.includes(key)) continue
    const reason = Object.hasOwn(refused, key) ? refused[key] : undefined
    if (reason !== undefined) throw invalidValue(`${name}.${key}`, value, reason)
    const nearest = nearestOf(key, known)
    const hint =
      nearest === undefined ? `is unknown; known are ${known.join(', ')}` : `is unknown; did you mean '${nearest}'`
    throw invalidValue(`${name}.${key}`, value, hint)
  }
}

/** Returns the known name nearest to a mistyped name; undefined if none is similar. */
export function nearestOf(name: string, known: readonly string[]): string | undefined {
  const ranked = known.map((candidate) => ({
    candidate,
    distance: editDistance(name.toLowerCase(), candidate.toLowerCase()),
  }))
  ranked.sort((a, b) => a.distance - b.distance)
  const [best] = ranked
  return best !== undefined && best.distance <= Math.max(2, name.length / 3) ? best.candidate : undefined
}

/** Returns the Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (const [i, left] of [...a].entries()) {
    const next = [i + 1]
    for (const [j, right] of [...b].entries()) {
      const substituted = (row[j] ?? 0) + (left === right ? 0 : 1)
      next.push(Math.min((row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1, substituted))
    }
    row = next
  }
  return row[b.length] ?? 0
}
