/**
 * Returns the command, and the arguments before Node's own, that run Node with a limit of open files. Sets both limits: Node
 * raises its soft limit to the hard one when it starts.
 */
export function limitedNode(openFiles: number): { command: string; args: string[] } {
  return { command: '/bin/sh', args: ['-c', `ulimit -n ${openFiles} && exec "$0" "$@"`, process.execPath] }
}
