/** Streams of messages: read by `for await`, written by `send`. */
import { Cancelled, Internal } from './errors.js'
import { Metadata } from './metadata.js'
import { LATER, OVER, type Pipe, type Write } from './pipe.js'

const abandoned = new FinalizationRegistry<Pipe>((pipe) => pipe.cancel())

const DONE = { done: true, value: undefined } as const

/** The next message of a pipe, as iterators tell it. One that is there costs one promise. */
async function next<In>(pipe: Pipe): Promise<IteratorResult<In, undefined>> {
  let value = pipe.poll()
  if (value === LATER) value = await pipe.next()
  return value === OVER ? DONE : { done: false, value: value as In }
}

/** The requests of a call that came in, as its handler reads them. */
export class Requests<In> implements AsyncIterableIterator<In> {
  readonly #pipe: Pipe

  /** @internal */
  constructor(pipe: Pipe) {
    this.#pipe = pipe
  }

  next(): Promise<IteratorResult<In, undefined>> {
    return next(this.#pipe)
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

/** What a stream of either kind is opened on: its pipe, or that of a call on its way through middleware. */
export interface Opening {
  /** The stream, once the call has been made. Throws what kept it from that. */
  pipe(): Promise<{ pipe: Pipe; write: Write }>
  /** The same, if it is open already. */
  now(): { pipe: Pipe; write: Write } | undefined
  /** What a middleware gave for it; without middleware, nothing does. */
  result?: () => Promise<unknown>
  end(): void
  cancel(): void
}

/** @internal A stream without middleware. */
export function opened(pipe: Pipe, write: Write): Opening {
  const open = { pipe, write }
  return { pipe: async () => open, now: () => open, end: () => pipe.close(), cancel: () => pipe.cancel() }
}

class Sending<Out> {
  /** @internal */
  protected readonly opening: Opening

  /** @internal */
  constructor(opening: Opening) {
    this.opening = opening
    const open = opening.now()
    if (open) abandoned.register(this, open.pipe)
  }

  /**
   * Sends a request. Waits while the far side is slow: messages leave in the order of calls that are awaited.
   * Throws what the stream ended with, if it has; `Closed` after `end`.
   */
  async send(message: Out): Promise<void> {
    const { pipe, write } = this.opening.now() ?? (await this.opening.pipe())
    if (!pipe.offer(write, message)) await pipe.send(write, message)
  }

  /** This side sends no more; the far side may still answer. Harmless when repeated. */
  end(): void {
    this.opening.end()
  }

  /** Headers of the answer, once they have come. */
  async headers(): Promise<Metadata> {
    const { pipe } = await this.opening.pipe()
    return await pipe.opened()
  }

  /** Trailers of the answer; empty before the end. */
  get trailers(): Metadata {
    return this.opening.now()?.pipe.trailers ?? Metadata.none
  }

  /** Ends it at once: reading goes on to throw `Cancelled`. Harmless when late. */
  cancel(): void {
    this.opening.cancel()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cancel()
  }
}

/**
 * A stream that this side opened. Replies are read with `for await`; leaving the loop early cancels it, and so do `cancel`,
 * `await using` and letting go of it.
 */
export class Stream<Out, In> extends Sending<Out> implements AsyncIterableIterator<In> {
  #replies: AsyncIterator<In> | undefined

  next(): Promise<IteratorResult<In, undefined>> {
    const open = this.opening.now()
    return open && !this.opening.result ? next(open.pipe) : this.#layered()
  }

  async #layered(): Promise<IteratorResult<In, undefined>> {
    this.#replies ??= iterator(await this.opening.result?.())
    const told = await this.#replies.next()
    return told.done ? DONE : told
  }

  async return(): Promise<IteratorResult<In, undefined>> {
    this.cancel()
    await this.#replies?.return?.()
    return DONE
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

/**
 * A stream of requests that this side opened. Awaiting it gives the one reply, so an `async` function that returns it
 * gives the reply too.
 */
export class ClientStream<Out, In> extends Sending<Out> implements Promise<In> {
  readonly [Symbol.toStringTag] = 'ClientStream'
  #reply: Promise<In> | undefined

  // biome-ignore lint/suspicious/noThenProperty: awaiting it gives the reply, as documented
  then<A = In, B = never>(
    done?: ((reply: In) => A | PromiseLike<A>) | null,
    failed?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#reply ??= this.#read()
    return this.#reply.then(done, failed)
  }

  catch<B = never>(failed?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<In | B> {
    return this.then(undefined, failed)
  }

  finally(over?: (() => void) | null): Promise<In> {
    return this.then().finally(over)
  }

  async #read(): Promise<In> {
    if (this.opening.result) return (await this.opening.result()) as In
    const { pipe } = await this.opening.pipe()
    const reply = await pipe.next()
    if (reply === OVER) throw new Internal('the stream ended without a reply', { id: 'micro' })
    await pipe.finish()
    return reply as In
  }
}

function iterator<In>(given: unknown): AsyncIterator<In> {
  if (typeof given === 'object' && given !== null && Symbol.asyncIterator in given) {
    return (given as AsyncIterable<In>)[Symbol.asyncIterator]()
  }
  throw new TypeError('a middleware gave no asynchronous iterable for a stream: return what `next` gave, or one')
}

/** @internal Sends all requests. What goes wrong with them is what the stream ends with. */
export async function feed(
  pipe: Pipe,
  write: Write,
  requests: Iterable<unknown> | AsyncIterable<unknown>,
): Promise<void> {
  try {
    for await (const request of requests) {
      if (pipe.ended) return
      if (!pipe.offer(write, request)) await pipe.send(write, request)
    }
    pipe.close()
  } catch (error) {
    // One that the far side has ended tells its reader how.
    if (!pipe.ended) pipe.cancel(error instanceof Error ? error : new Cancelled(String(error), { cause: error }))
  }
}
