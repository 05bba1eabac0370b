/**
 * Runs Node with at most so many descriptors, as a command and the arguments before Node's own. Both limits, as Node
 * raises its soft one to the hard one when it starts.
 */
export function limitedNode(openFiles: number): { command: string; args: string[] } {
  return { command: '/bin/sh', args: ['-c', `ulimit -n ${openFiles} && exec "$0" "$@"`, process.execPath] }
}
