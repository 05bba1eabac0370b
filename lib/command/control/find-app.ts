import { CommandError, EXIT, usageError } from '../command-error.js'
import { answers, ControlClient } from './control-client.js'
import { controlPaths } from './control-path.js'

/** Returns the running apps in the order of their names. */
export async function runningApps(): Promise<ControlClient[]> {
  const all = [...controlPaths()].map(([name, path]) => new ControlClient(name, path))
  const areRunning = await Promise.all(all.map(({ path }) => answers(path)))
  return all.filter((_, index) => areRunning[index] === true).sort((a, b) => a.name.localeCompare(b.name))
}

/** Returns the app with the given name or control socket. Without both, returns the only running app. */
export async function findApp(
  name: string | undefined,
  control: string | undefined,
  command: string,
): Promise<ControlClient> {
  if (control !== undefined) return new ControlClient(name ?? control, control)
  const running = await runningApps()
  const names = running.map((app) => app.name).join(', ')
  if (name !== undefined) {
    const found = running.find((app) => app.name === name)
    if (found !== undefined) return found
    const others = names === '' ? 'none is' : `running: ${names}`
    throw new CommandError(`no app named '${name}' is running; ${others}`, EXIT.notRunning)
  }
  const [only, second] = running
  if (only === undefined) throw new CommandError('no app is running', EXIT.notRunning)
  if (second !== undefined) {
    throw usageError(`several apps are running: ${names}. Say which: socketserver ${command} ${only.name}`)
  }
  return only
}
