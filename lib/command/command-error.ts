/** The exit codes of the command; docs/command.md lists them. */
export const EXIT = {
  done: 0,
  /** The app could not be started, a command failed, or the server cut connections when it closed. */
  failed: 1,
  /** The arguments or the config file contain a mistake. */
  usage: 2,
  /** No app of that name is running. */
  notRunning: 3,
} as const

/** The command prints the message of this error without a stack, and exits with `exitCode`. */
export class CommandError extends Error {
  readonly exitCode: number

  constructor(message: string, exitCode: number = EXIT.failed, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'CommandError'
    this.exitCode = exitCode
  }
}

/** Returns the error for a mistake in the arguments or the config file. */
export function usageError(message: string): CommandError {
  return new CommandError(message, EXIT.usage)
}

/** Returns the message of an error, or the text of another value. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
