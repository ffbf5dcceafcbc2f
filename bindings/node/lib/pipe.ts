/**
 * The inside of a stream: what the queue tells, and what its reader and writer wait for. The runtime holds on to it until it
 * ends, and nothing else does but the stream in the hands of the user: so one that is let go of can be cancelled.
 */
import { leaving } from './codec.js'
import { Closed, errorOf, given, type MicroError, Stale } from './errors.js'
import { Metadata, unpack } from './metadata.js'
import { type Incoming, Kind, type Runtime, type Sink } from './runtime.js'

/** Messages a stream may be ahead of its reader. */
const WINDOW = 64
/** Bytes of messages a stream may be ahead of its reader, unless one alone is larger. */
const WINDOW_BYTES = 1024 * 1024
/** Bytes that are read before the stream is told; the bridge counts on it. */
const TOLD = 64 * 1024

/** Makes a message of what arrived. It is kept until it is read, so what it throws is thrown then. */
export type Read = (event: Incoming) => unknown

/** The end of messages. */
export const OVER: unique symbol = Symbol('over')
/** There is no message yet. */
export const LATER: unique symbol = Symbol('later')

/** Makes a message leave. */
export type Write = (message: unknown) => void

interface Waiting {
  resolve: () => void
  promise: Promise<void>
}

function waiting(): Waiting {
  let resolve!: () => void
  const promise = new Promise<void>((done) => {
    resolve = done
  })
  return { resolve, promise }
}

/** Messages on their way in, and room for messages on their way out. */
export class Pipe implements Sink {
  readonly holds = true
  id = 0
  headers: Metadata | undefined
  trailers: Metadata = Metadata.none
  ended = false
  error: Error | undefined
  /** Why this side gave up, which says more than that the stream was cancelled. */
  failed: Error | undefined
  /** Called once at the end. */
  onEnd: (() => void) | undefined
  /** Called when the caller of a call that came in no longer waits. */
  onLeave: (() => void) | undefined

  readonly #runtime: Runtime
  readonly #read: Read
  #messages: { message: unknown; error: unknown; bytes: number }[] = []
  #first = 0
  #changed: Waiting | undefined
  #room: Waiting | undefined
  #owed = 0
  #owedBytes = 0
  #reads = false
  #left: Error | undefined

  constructor(
    runtime: Runtime,
    read: Read,
    private readonly window = WINDOW,
  ) {
    this.#runtime = runtime
    this.#read = read
  }

  /** Names the stream and lets messages come. */
  start(id: number): void {
    this.id = id
    this.#reads = true
    given(this.#runtime.native.bound(id, WINDOW_BYTES))
    given(this.#runtime.native.grant(id, this.window))
  }

  tell(event: Incoming): void {
    this.told(event, undefined)
  }

  /** Something happened to it. */
  told(event: Incoming, error: Error | undefined): void {
    switch (event.kind) {
      case Kind.MESSAGE:
      case Kind.CHANGE:
      case Kind.DELIVERY:
        this.#arrived(event)
        break
      case Kind.OPENED:
        this.headers = unpack(event.meta())[0]
        break
      case Kind.WRITABLE:
        this.#makeRoom()
        return
      case Kind.END:
        this.end(event, error as MicroError | undefined)
        return
    }
    this.#notify()
  }

  #arrived(event: Incoming): void {
    const bytes = event.length
    try {
      this.#messages.push({ message: this.#read(event), error: undefined, bytes })
    } catch (error) {
      this.#messages.push({ message: undefined, error: error ?? new Error('no message'), bytes })
    }
  }

  end(event: Incoming, error: MicroError | undefined): void {
    const [headers, trailers] = error ? [error.headers, error.trailers] : unpack(event.meta())
    if (this.ended) return
    this.headers ??= headers
    this.trailers = trailers
    this.over(error)
  }

  /** Nothing more will be told. */
  over(error: Error | undefined): void {
    if (this.ended) return
    this.headers ??= Metadata.none
    this.ended = true
    this.error = this.failed ?? error
    this.onEnd?.()
    this.#notify()
    this.#makeRoom()
  }

  /** The caller of a call that came in no longer waits. */
  leave(why: Error): void {
    this.#left = why
    this.over(why)
    this.#makeRoom()
    this.onLeave?.()
  }

  #notify(): void {
    this.#changed?.resolve()
    this.#changed = undefined
  }

  #makeRoom(): void {
    this.#room?.resolve()
    this.#room = undefined
  }

  /** Resolves when something changes. */
  change(): Promise<void> {
    this.#changed ??= waiting()
    return this.#changed.promise
  }

  /** The next message if it is there, `OVER` after the last, or `LATER`. Throws what the stream ended with. */
  poll(): unknown {
    if (this.#first < this.#messages.length) return this.#take()
    if (!this.ended) return LATER
    if (this.error) throw this.error
    return OVER
  }

  /** The next message, or `OVER`. Throws what the stream ended with. */
  async next(): Promise<unknown> {
    for (;;) {
      const value = this.poll()
      if (value !== LATER) return value
      await this.change()
    }
  }

  #take(): unknown {
    const messages = this.#messages
    const { message, error, bytes } = messages[this.#first] as (typeof messages)[number]
    messages[this.#first] = undefined as never
    this.#first++
    if (this.#first === messages.length) {
      this.#messages = []
      this.#first = 0
    }
    this.#owed++
    this.#owedBytes += bytes
    if (this.#reads && (this.#owed >= this.window / 2 || this.#owedBytes >= TOLD) && !this.ended) {
      this.#runtime.native.grant(this.id, this.#owed)
      this.#owed = 0
      this.#owedBytes = 0
    }
    if (error !== undefined) throw error
    return message
  }

  /** Resolves at the end. Throws what the stream ended with. */
  async finish(): Promise<void> {
    while (!this.ended) await this.change()
    if (this.error) throw this.error
  }

  /** Headers, once they have come. */
  async opened(): Promise<Metadata> {
    while (this.headers === undefined) await this.change()
    return this.headers
  }

  /** Sends a message that `write` makes leave; false when the far side is slow. Throws what the stream ended with. */
  offer(write: Write, message: unknown): boolean {
    write(message)
    const sent = this.#runtime.native.send(this.id, leaving.bytes, leaving.length, false)
    if (typeof sent === 'boolean') return sent
    const error = errorOf(sent)
    throw error instanceof Stale || error instanceof Closed ? (this.#left ?? this.error ?? error) : error
  }

  /** As `offer`, and waits while the far side is slow. */
  async send(write: Write, message: unknown): Promise<void> {
    while (!this.offer(write, message)) {
      this.#room ??= waiting()
      await this.#room.promise
    }
  }

  /** This side sends no more; where it never does, that is so already. */
  close(): void {
    this.#runtime.native.close(this.id)
  }

  /** Ends it at once. Harmless when late. */
  cancel(why?: Error): void {
    if (this.ended || this.id === 0) return
    this.failed ??= why
    this.#runtime.cancel(this.id)
  }
}
