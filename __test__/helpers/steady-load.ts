import { setTimeout as delay } from 'node:timers/promises'
import { ask } from './caller.js'

/** Clients that send unique requests in a loop and count the answers of each worker. */
export class SteadyLoad {
  /** Correct answers by worker, `<language>-<pid>`. */
  readonly answers = new Map<string, number>()
  /** Answers that are not the name of a worker and the client's own request. */
  readonly wrong: string[] = []
  /** The errors of requests without an answer. */
  readonly lost: string[] = []
  readonly #over: Promise<unknown>
  #stopping = false

  constructor(port: number, clients: number) {
    const all = Array.from({ length: clients }, (_, client) => this.#run(port, client))
    this.#over = Promise.all(all)
  }

  /** Returns the number of correct answers of one worker or of all. */
  count(worker?: string): number {
    if (worker !== undefined) return this.answers.get(worker) ?? 0
    return Array.from(this.answers.values()).reduce((sum, count) => sum + count, 0)
  }

  /** Waits for pending answers and sends no more requests. */
  async stop(): Promise<void> {
    this.#stopping = true
    await this.#over
  }

  async #run(port: number, client: number): Promise<void> {
    for (let serial = 0; !this.#stopping; serial++) {
      await this.#ask(port, `client ${client} asks ${serial}\n`)
      // Without a pause the ephemeral ports run out.
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
