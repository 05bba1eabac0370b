// Node requires this file before the entry of each worker that `server.run()` starts. Threads and processes that the app starts
// inherit the flag but not the variable, so they load only this file.

import { CHANNEL_VARIABLE } from '../channel-variable.js'

hideFlag(process.execArgv)
if (process.env[CHANNEL_VARIABLE] !== undefined) require('./start.js').start()

/** Removes the `--require` flag of this file, so that the app sees and inherits only its own flags. */
function hideFlag(flags: string[]): void {
  const index = flags.findIndex((flag, at) => flag === '--require' && flags[at + 1] === __filename)
  if (index >= 0) flags.splice(index, 2)
}
