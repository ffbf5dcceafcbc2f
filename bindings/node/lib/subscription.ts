/** Messages that a program takes by itself, when it is ready for each. */
import { type AnyFormat, decode } from './codec.js'
import { InvalidArgument } from './errors.js'
import { failed } from './logs.js'
import { Delivery } from './messages.js'
import { unpack } from './metadata.js'
import type { Start } from './options.js'
import { LATER, OVER, Pipe } from './pipe.js'
import type { Incoming, Runtime } from './runtime.js'

/** Messages that are ahead of their reader, unless `maxInFlight` says otherwise: the broker's own number. */
const IN_FLIGHT = 16
/** Milliseconds after which the lease of one that has waited for its reader begins anew: half of the shortest. */
const WAITED = 50

const DONE = { done: true, value: undefined } as const

const abandoned = new FinalizationRegistry<Pipe>((pipe) => pipe.cancel())

/** A message on this side, until its reader comes. */
interface Arrived<T> {
  delivery: Delivery<T>
  at: number
  /** Why it cannot be read. */
  wrong: unknown
}

/** @internal Where a queue begins, as the core reads it. */
export function since(start: Start | undefined): unknown {
  if (typeof start !== 'object' || !('time' in start)) return start
  return { time: start.time instanceof Date ? start.time.getTime() : start.time }
}

/** @internal What is told of a subscription. */
export function deliveries(
  runtime: Runtime,
  topic: string,
  format: AnyFormat | undefined,
  maxInFlight = IN_FLIGHT,
): Pipe {
  const read = (event: Incoming): Arrived<unknown> => {
    const [metadata, facts] = unpack(event.meta())
    let [message, wrong]: [unknown, unknown] = [undefined, undefined]
    try {
      message = decode(event, format, `the message of ${topic}`, InvalidArgument)
    } catch (error) {
      wrong = error
    }
    return { delivery: new Delivery(runtime, event.id, message, metadata, facts), at: runtime.taken, wrong }
  }
  // What is no such number the core refuses.
  return new Pipe(runtime, read, Math.max(maxInFlight, 1))
}

/**
 * Messages of a topic, read with `for await`. Leaving the loop ends the subscription, and so do `cancel`, `return`, `await
 * using`, the signal it was given, and letting go of it: what was not settled by then is another's.
 */
export class Subscription<T> implements AsyncIterableIterator<Delivery<T>> {
  readonly #runtime: Runtime
  readonly #pipe: Pipe
  #left = false

  /** @internal */
  constructor(runtime: Runtime, pipe: Pipe) {
    this.#runtime = runtime
    this.#pipe = pipe
    abandoned.register(this, pipe)
  }

  /** Resolves once messages that are published from now on will come. Throws what keeps them from that. */
  async ready(): Promise<void> {
    await this.#pipe.opened()
    if (this.#pipe.ended && this.#pipe.error && !this.#left) throw this.#pipe.error
  }

  /** The next message. One that cannot be read is a dead letter, and is logged. Throws what the subscription ended with. */
  async next(): Promise<IteratorResult<Delivery<T>, undefined>> {
    const pipe = this.#pipe
    for (;;) {
      if (this.#left) return DONE
      if (pipe.ended) {
        // What has come and was not read is another's.
        if (pipe.error) throw pipe.error
        return DONE
      }
      const told = pipe.poll()
      if (told === LATER) {
        await pipe.change()
        continue
      }
      if (told === OVER) return DONE
      const { delivery, at, wrong } = told as Arrived<T>
      if (wrong === undefined) {
        if (performance.now() - at > WAITED) delivery.extend()
        return { done: false, value: delivery.watch() }
      }
      delivery.reject(String(wrong))
      failed(`a message of ${delivery.topic} cannot be read: it is a dead letter`, wrong)
    }
  }

  /** Ends it, and resolves when that is so. */
  async return(): Promise<IteratorResult<Delivery<T>, undefined>> {
    this.cancel()
    await this.#runtime.hold(this.#pipe.finish().catch(() => undefined))
    return DONE
  }

  /** Ends it. Harmless when repeated. */
  cancel(): void {
    this.#left = true
    this.#pipe.cancel()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }
}
