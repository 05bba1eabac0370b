import { fetchOnce } from './http.js'

/** The answer of the fixture `hello-app`. */
export interface Hello {
  pid: number
  args: string[]
  cwd: string
  execArgv: string[]
  env: NodeJS.ProcessEnv
}

/** Asks the fixture `hello-app`. */
export async function hello(port: number): Promise<Hello> {
  return JSON.parse((await fetchOnce(port)).body)
}
