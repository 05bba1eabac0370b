import { parseArgs } from 'node:util'
import { nearestOf } from '../../known-options.js'
import { usageError } from '../command-error.js'
import { flagOf, type OptionSpec } from './options.js'

/** Parsed arguments: the given options with their values, and the positional arguments. */
export interface ParsedFlags<Key extends string> {
  /** The values of each option, in order. A flag without a value has one empty string. */
  values: Map<Key, string[]>
  positionals: string[]
}

/**
 * Parses arguments with Node's `parseArgs`. With `stopAtFirst`, options end at the first positional argument, as they do for
 * `node` itself: later arguments belong to the app. Throws a usage error for unknown options, and for missing or unexpected values.
 */
export function parseFlags<Key extends string>(
  args: readonly string[],
  specs: Readonly<Record<Key, OptionSpec>>,
  stopAtFirst = false,
): ParsedFlags<Key> {
  const known = Object.entries<OptionSpec>(specs)
  const options = Object.fromEntries(
    known.map(([key, { takes, short }]) => [
      flagOf(key),
      {
        type: takes === 'flag' || takes === 'optional' ? ('boolean' as const) : ('string' as const),
        ...(short === undefined ? {} : { short }),
      },
    ]),
  )
  const { tokens } = parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true })
  const values = new Map<string, string[]>()
  const positionals: string[] = []
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue
    if (token.kind === 'positional') {
      positionals.push(token.value)
      if (!stopAtFirst) continue
      positionals.push(...args.slice(token.index + 1))
      break
    }
    const [key, spec] = known.find(([candidate]) => flagOf(candidate) === token.name) ?? []
    if (key === undefined || spec === undefined) throw unknownOption(token.rawName, Object.keys(specs))
    const value = checkedValue(token.rawName, spec, token.value, token.inlineValue ?? false)
    values.set(key, spec.takes === 'values' ? [...(values.get(key) ?? []), value] : [value])
  }
  return { values: values as Map<Key, string[]>, positionals }
}

function checkedValue(
  flag: string,
  { takes, acceptsHyphen }: OptionSpec,
  value: string | undefined,
  isInline: boolean,
): string {
  if (takes === 'flag') {
    if (value !== undefined) throw usageError(`option ${flag} takes no value, but was given '${value}'`)
    return ''
  }
  if (takes === 'optional') return value ?? ''
  if (value === undefined || value === '') throw usageError(`option ${flag} needs a value`)
  const isSuspicious = !isInline && acceptsHyphen !== true && /^-[^\d]/.test(value)
  if (isSuspicious) throw usageError(`option ${flag} needs a value; if '${value}' is meant, write ${flag}=${value}`)
  return value
}

function unknownOption(flag: string, known: readonly string[]): Error {
  const nearest = flag.startsWith('--') ? nearestOf(flag.slice(2), known.map(flagOf)) : undefined
  const hint = nearest === undefined ? "'socketserver --help' lists the options" : `did you mean --${nearest}?`
  return usageError(`unknown option ${flag}; ${hint}`)
}
