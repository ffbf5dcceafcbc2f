/** Middleware: functions around the handlers of a service, and around the calls of a client. */
import { type Context, current } from './context.js'
import { Closed } from './errors.js'
import type { MessageContext } from './messages.js'
import { Metadata } from './metadata.js'
import type { CallOptions } from './options.js'
import type { Pipe, Write } from './pipe.js'
import type { Opening } from './streams.js'

export type Shape = 'unary' | 'client_stream' | 'server_stream' | 'bidi_stream'

/** A reply with what came along. */
export interface Reply<T> {
  message: T
  headers: Metadata
  trailers: Metadata
  /** True when it came compressed. */
  compressed: boolean
}

/** A call that is about to be made, as the middleware of a client sees it, and may change it. */
export class Call {
  constructor(
    public service: string,
    public endpoint: string,
    /** The request; of a stream of requests the iterable that was given, or `undefined` where they are sent one by one. */
    public request: unknown,
    /** What the call was given. */
    public options: CallOptions,
    readonly shape: Shape,
  ) {}

  /** The call that is being served while this one is made, if there is one. */
  get context(): Context | undefined {
    return current.getStore()
  }
}

/**
 * Around a call: `next()` goes on and gives a `Reply`; for streams of replies an asynchronous iterable of them, and for a
 * client's stream the one message.
 */
// biome-ignore lint/suspicious/noExplicitAny: what goes through depends on the shape
export type ClientMiddleware = (call: Call, next: (call?: Call) => Promise<any>) => unknown

/** Around a handler: `next()`, or `next(request)` with another request, runs it and gives its reply. */
// biome-ignore lint/suspicious/noExplicitAny: what goes through depends on the endpoint
export type ServiceMiddleware = (context: Context, next: (request?: unknown) => Promise<any>) => unknown

/** Around the handler of a message: `next()`, or `next(message)` with another message, runs it. */
export type MessageMiddleware = (context: MessageContext, next: (message?: unknown) => Promise<void>) => unknown

/** @internal */
export function checked<F>(middleware: F, what: string): F {
  if (typeof middleware !== 'function') throw new TypeError(`${what} is ${typeof middleware}: give a function`)
  return middleware
}

/** @internal What a middleware gave, as a reply. */
export function replied(answer: unknown): Reply<unknown> {
  if (typeof answer === 'object' && answer !== null && 'message' in answer) {
    return { headers: Metadata.none, trailers: Metadata.none, compressed: false, ...answer }
  }
  throw new TypeError(`a middleware gave ${typeof answer}: return what \`next\` gave, or \`{ message }\``)
}

/** @internal Runs a handler inside of middleware, the first given outermost. */
export function inside<C extends Context>(
  layers: readonly ((context: C, next: (request?: unknown) => Promise<never>) => unknown)[],
  handler: (request: unknown, context: C) => unknown,
  request: unknown,
  context: C,
): unknown {
  const way = (place: number, request: unknown): unknown => {
    const layer = layers[place]
    context.request = request
    if (layer === undefined) return handler(request, context)
    let own = request
    return layer(context, async (...other: [unknown?]) => {
      if (other.length > 0) own = other[0]
      return (await way(place + 1, own)) as never
    })
  }
  return way(0, request)
}

/** @internal The way of a call through middleware, the first given outermost. */
export function around(layers: readonly ClientMiddleware[], innermost: (call: Call) => Promise<unknown>) {
  return layers.reduceRight<(call: Call) => Promise<unknown>>(
    (inner, layer) => async (call) => await layer(call, (other) => inner(other ?? call)),
    innermost,
  )
}

/** @internal A stream on its way through middleware: what was opened in the end, and what came of it. */
export class Layered implements Opening {
  readonly #opened: Promise<{ pipe: Pipe; write: Write } | undefined>
  #settle!: (opened: { pipe: Pipe; write: Write } | undefined) => void
  readonly #way: Promise<unknown>
  #open: { pipe: Pipe; write: Write } | undefined
  #sent = false
  #cancelled = false

  constructor(way: (layered: Layered) => Promise<unknown>) {
    this.#opened = new Promise((settle) => {
      this.#settle = settle
    })
    this.#way = way(this).finally(() => this.#settle(undefined))
    // Its reader hears of it.
    this.#way.catch(() => undefined)
  }

  /** The call is made. */
  open(pipe: Pipe, write: Write): void {
    this.#open = { pipe, write }
    this.#settle(this.#open)
    if (this.#sent) pipe.close()
    if (this.#cancelled) pipe.cancel()
  }

  result = (): Promise<unknown> => this.#way

  async pipe(): Promise<{ pipe: Pipe; write: Write }> {
    const open = this.#open ?? (await this.#opened)
    if (open) return open
    await this.#way
    throw new Closed('a middleware has answered this call: it takes no messages')
  }

  now(): { pipe: Pipe; write: Write } | undefined {
    return this.#open
  }

  end(): void {
    this.#sent = true
    this.#open?.pipe.close()
  }

  cancel(): void {
    this.#cancelled = true
    this.#open?.pipe.cancel()
  }
}
