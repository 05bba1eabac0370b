import { setTimeout as delay } from 'node:timers/promises'
import { ask } from './caller.js'

/** Clients that ask again and again, each with a word of its own, and keep account of who has answered. */
export class SteadyLoad {
  /** Right answers, by who has given them: `<language>-<pid>`. */
  readonly answers = new Map<string, number>()
  /** Answers that are not a worker's name and the client's own word, once. */
  readonly wrong: string[] = []
  /** Clients that got no answer, by what they met instead. */
  readonly lost: string[] = []
  readonly #over: Promise<unknown>
  #stopping = false

  constructor(port: number, clients: number) {
    const all = Array.from({ length: clients }, (_, client) => this.#run(port, client))
    this.#over = Promise.all(all)
  }

  /** How many right answers there are, of one worker or of all. */
  count(worker?: string): number {
    if (worker !== undefined) return this.answers.get(worker) ?? 0
    return Array.from(this.answers.values()).reduce((sum, count) => sum + count, 0)
  }

  /** Lets those who wait have their answers, and asks no more. */
  async stop(): Promise<void> {
    this.#stopping = true
    await this.#over
  }

  async #run(port: number, client: number): Promise<void> {
    for (let serial = 0; !this.#stopping; serial++) {
      await this.#ask(port, `client ${client} asks ${serial}\n`)
      // A pause, or the ports of this machine run out.
      await delay(2)
    }
  }

  async #ask(port: number, word: string): Promise<void> {
    let answer: string
    try {
      answer = await ask(port, word)
    } catch (error) {
      this.lost.push(String(error))
      return
    }
    const worker = answer.slice(0, answer.indexOf(' '))
    if (answer === '') this.lost.push('empty')
    else if (/^[a-z]+-\d+$/.test(worker) && answer === `${worker} ${word}`) {
      this.answers.set(worker, this.count(worker) + 1)
    } else this.wrong.push(answer)
  }
}
