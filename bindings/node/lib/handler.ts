/** Handlers, and what becomes of the calls they are given. */
import { type AnyFormat, decode, encode, leaving } from './codec.js'
import { Context, current } from './context.js'
import {
  Cancelled,
  Code,
  DeadlineExceeded,
  Forked,
  given,
  Internal,
  InvalidArgument,
  MicroError,
  Panic,
  WrongArgument,
} from './errors.js'
import { failed } from './logs.js'
import { inside, type ServiceMiddleware } from './middleware.js'
import type { Failure, NativeServer } from './native.js'
import { document, type EndpointOptions } from './options.js'
import { Pipe, type Write } from './pipe.js'
import type { Incoming, Runtime } from './runtime.js'
import { Requests } from './streams.js'

/** Shapes of endpoints. */
export const UNARY = 0
export const CLIENT_STREAM = 1
export const SERVER_STREAM = 2
export const BIDI_STREAM = 3

// biome-ignore lint/suspicious/noExplicitAny: any request, any reply
export type AnyHandler = (request: any, context: Context) => unknown

const NONE = Buffer.alloc(0)

/** What a service serves: an endpoint, or a subscriber. */
export interface Served {
  readonly name: string
  /** Tells the core of it, which numbers them in this order. */
  declare(server: NativeServer): void
  /** Serves a call or a message that came in. */
  serve(runtime: Runtime, event: Incoming): void
}

/** An endpoint of a service, or an operation of what is provided. */
export class Endpoint implements Served {
  layers: readonly ServiceMiddleware[] = []
  readonly #what: string
  readonly #asked: string

  constructor(
    readonly name: string,
    readonly shape: number,
    private readonly handler: AnyHandler,
    readonly options: EndpointOptions & { request?: string; response?: string } = {},
    private readonly request?: AnyFormat,
    private readonly response?: AnyFormat,
  ) {
    this.#what = `what ${name} ${shape & SERVER_STREAM ? 'yielded' : 'returned'}`
    this.#asked = `the request of ${name}`
  }

  declare(server: NativeServer): void {
    given(server.method(this.name, this.shape, document(this.options)))
  }

  serve(runtime: Runtime, event: Incoming): void {
    const context = new Context(runtime, event)
    if (context.isLate) {
      const late = 'the caller no longer waited for this call when its turn came'
      this.#fail(runtime, context, new DeadlineExceeded(late, { id: 'micro' }))
      return
    }
    let replies: unknown
    try {
      if (this.shape === UNARY) {
        const request = decode(event, this.request, this.#asked, InvalidArgument)
        replies = current.run(context, this.#call, request, context)
      } else {
        replies = this.#stream(runtime, context, event)
      }
    } catch (error) {
      this.#fail(runtime, context, error)
      return
    }
    if (!isLater(replies)) {
      this.#finish(runtime, context, replies)
      return
    }
    runtime.calls.set(context.id, context)
    replies.then(
      (reply) => this.#finish(runtime, context, reply),
      (error) => this.#fail(runtime, context, error),
    )
  }

  /** The handler, behind its middleware. */
  readonly #call = (request: unknown, context: Context): unknown => {
    return this.layers.length === 0
      ? this.handler(request, context)
      : inside(this.layers, this.handler, request, context)
  }

  #stream(runtime: Runtime, context: Context, event: Incoming): Promise<unknown> {
    const read = (event: Incoming) => decode(event, this.request, this.#asked, InvalidArgument)
    const pipe = new Pipe(runtime, read)
    context.pipe = pipe
    pipe.id = context.id
    runtime.calls.set(context.id, context)
    let request: unknown
    if (this.shape & CLIENT_STREAM) {
      pipe.start(context.id)
      request = new Requests(pipe)
    } else {
      request = read(event)
    }
    return current.run(context, async () => {
      const replies = await this.#call(request, context)
      return this.shape & SERVER_STREAM ? await this.#pump(context, pipe, replies) : replies
    })
  }

  /** Sends the replies of a stream. */
  async #pump(context: Context, pipe: Pipe, replies: unknown): Promise<typeof SENT> {
    const iterator = iteratorOf(replies, this.name)
    const write: Write = (message) => encode(message, context.flags, this.response, this.#what, Internal)
    let over = false
    const leave = () => {
      if (!over) void Promise.resolve(iterator.return?.()).catch(() => undefined)
      over = true
    }
    // The iterator hears that its reader has left even while it waits for something.
    pipe.onLeave = leave
    try {
      for (;;) {
        const told = await iterator.next()
        if (told.done) break
        if (!pipe.offer(write, told.value)) await pipe.send(write, told.value)
      }
      over = true
    } finally {
      leave()
    }
    return SENT
  }

  #finish(runtime: Runtime, context: Context, reply: unknown): void {
    runtime.calls.delete(context.id)
    if (context.cancelled) return
    try {
      if (reply === SENT) {
        told(context, runtime.native.reply(context.id, NONE, 0, context.trailers))
        return
      }
      encode(reply, context.flags, this.response, this.#what, Internal)
      told(context, runtime.native.reply(context.id, leaving.bytes, leaving.length, context.trailers))
    } catch (error) {
      this.#fail(runtime, context, error)
    }
  }

  #fail(runtime: Runtime, context: Context, error: unknown): void {
    fail(runtime, context, this.name, error)
  }
}

/** Answers a call or a message with what its handler threw. */
export function fail(runtime: Runtime, context: Context, name: string, error: unknown): void {
  runtime.calls.delete(context.id)
  const failure = meant(context, name, error)
  const details = failure.details.map(({ typeUrl, value }) => ({ typeUrl, value: Buffer.from(value) }))
  const code = failure.code === Code.OK ? Code.UNKNOWN : failure.code
  const said = failure.detail || failure.status
  const { native } = runtime
  try {
    const retry = failure.retry === false ? Infinity : (failure.retry ?? NaN)
    told(context, native.fail(context.id, code, failure.http, failure.id, said, details, retry, context.trailers))
  } catch (second) {
    failed(`the error of ${name} cannot be sent`, second)
    const told = `${name} failed: the log of its service says why`
    native.fail(context.id, Code.INTERNAL, 0, 'micro', told, [], NaN, NONE)
  }
}

/** What the caller is told of what a handler threw. */
function meant(context: Context, name: string, error: unknown): MicroError {
  const own = error instanceof WrongArgument || error instanceof Forked || error instanceof Panic
  if (error instanceof MicroError && !own) return error
  if (context.cancelled && error instanceof Error && error.name === 'AbortError') {
    return new Cancelled(`${name} was cancelled`, { id: 'micro' })
  }
  failed(`${name} threw ${error instanceof Error ? error.name : typeof error}`, error)
  // Its text was not meant for the caller, and it may be secret.
  return new Internal(`${name} failed: the log of its service says why`, { id: 'micro' })
}

/** Stands for the reply of a stream whose replies were sent. */
const SENT: unique symbol = Symbol('sent')

/** What else waits on the call's signal hears of it, where the caller had left before it was answered. */
export function told(context: Context, answered: boolean | Failure): void {
  if (!given(answered) && !context.cancelled) context.leave()
}

/** True for what has to be awaited. */
export function isLater(given: unknown): given is PromiseLike<unknown> {
  return typeof given === 'object' && given !== null && typeof (given as { then?: unknown }).then === 'function'
}

function iteratorOf(replies: unknown, name: string): AsyncIterator<unknown> | Iterator<unknown> {
  if (typeof replies === 'object' && replies !== null) {
    if (Symbol.asyncIterator in replies) return (replies as AsyncIterable<unknown>)[Symbol.asyncIterator]()
    if (Symbol.iterator in replies) return (replies as Iterable<unknown>)[Symbol.iterator]()
  }
  throw new Internal(`${name} streams, and gave no iterable of replies: make it \`async function*\``, { id: 'micro' })
}
