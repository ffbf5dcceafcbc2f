/** The call that is being served, found from anywhere below its handler. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { performance } from 'node:perf_hooks'
import { Cancelled, DeadlineExceeded, given } from './errors.js'
import { type Metadata, type MetadataLike, type MetadataValue, pack, unpack } from './metadata.js'
import type { Pipe } from './pipe.js'
import type { Incoming, Runtime } from './runtime.js'

/** @internal The call whose handler runs. */
export const current = new AsyncLocalStorage<Context>()

/** The call whose handler runs; `undefined` outside of one. */
export function context(): Context | undefined {
  return current.getStore()
}

interface Description {
  service: string
  endpoint: string
  caller: string
  peer: string | null
  trace_id: string
  span_id: string
}

/** For so long after it was fetched, in milliseconds, a call is taken to be waited for still. */
const FRESH = 1

/** A call that came in: who calls, how long they wait, what they sent along, and what is sent along with the answer. */
export class Context {
  /** @internal */
  readonly id: number
  /** @internal */
  readonly flags: number
  /** @internal */
  pipe: Pipe | undefined
  /** The request, or the requests of a stream, as middleware sees them. */
  request: unknown

  readonly #runtime: Runtime
  readonly #until: number
  readonly #meta: Buffer | undefined
  #read: [headers: Metadata, facts: Metadata] | undefined
  #description: Description | undefined
  #controller: AbortController | undefined
  #cancelled = false
  #trailers: [string, MetadataValue][] | undefined

  /** @internal */
  constructor(runtime: Runtime, event: Incoming) {
    this.#runtime = runtime
    this.id = event.id
    this.flags = event.flags
    this.#until = runtime.taken + event.timeout
    this.#meta = event.meta()
  }

  /** @internal True when it is not worth beginning any more: handlers of other calls may have run since it was fetched. */
  get isLate(): boolean {
    const now = performance.now()
    return this.#until <= now || (now - this.#runtime.taken > FRESH && !this.#runtime.native.isWanted(this.id))
  }

  /** Metadata the caller sent. */
  get metadata(): Metadata {
    this.#read ??= unpack(this.#meta)
    return this.#read[0]
  }

  /** @internal What is known of a message beside its metadata. */
  get facts(): Metadata {
    this.#read ??= unpack(this.#meta)
    return this.#read[1]
  }

  /** Milliseconds until the caller stops waiting, never below zero; `undefined` when it waits for ever. */
  get remaining(): number | undefined {
    return this.#until === Infinity ? undefined : Math.max(0, this.#until - performance.now())
  }

  /** True once the caller no longer waits for the answer. */
  get cancelled(): boolean {
    return this.#cancelled
  }

  /** Aborted once the caller no longer waits for the answer: what a handler waits for should be given it. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#cancelled) this.#controller.abort(this.reason())
    }
    return this.#controller.signal
  }

  /** Name of the service that was called. */
  get service(): string {
    return this.#described().service
  }

  /** Endpoint that was called, such as `Greeter.Hello`. */
  get endpoint(): string {
    return this.#described().endpoint
  }

  /** Service that calls; empty when the caller is no service. */
  get caller(): string {
    return this.#described().caller ?? ''
  }

  /** Address of the caller, `host:port`; `undefined` in memory. */
  get peer(): string | undefined {
    return this.#described().peer ?? undefined
  }

  /** Name of the whole tree of calls. */
  get traceId(): string {
    return this.#described().trace_id
  }

  /** Name of this call within its tree. */
  get spanId(): string {
    return this.#described().span_id
  }

  /** Adds a header to the answer; without effect once they are sent, with a stream's first message or by `sendHeaders`. */
  setHeader(name: string, value: MetadataValue): void {
    given(this.#runtime.native.setHeaders(this.id, pack([[name, value]])))
  }

  /**
   * Sends the headers of a stream's answer now, before its first message; headers that are set afterwards may be lost. Throws
   * `WrongArgument` where the answer is one message, which its headers come with.
   */
  sendHeaders(): void {
    given(this.#runtime.native.sendHeaders(this.id))
  }

  /** Adds a trailer to the answer, also to one that fails. */
  setTrailer(name: string, value: MetadataValue): void {
    given(this.#runtime.native.checkMetadata(pack([[name, value]])))
    this.#trailers ??= []
    this.#trailers.push([name, value])
  }

  /** @internal */
  get trailers(): Uint8Array {
    return pack(this.#trailers as MetadataLike | undefined)
  }

  /** @internal Why the caller no longer waits. */
  reason(): Cancelled | DeadlineExceeded {
    if (this.#until <= performance.now()) {
      return new DeadlineExceeded('the deadline of this call has passed', { id: 'micro' })
    }
    return new Cancelled('the caller no longer waits for this call', { id: 'micro' })
  }

  /** @internal The caller no longer waits: the handler is told. */
  leave(): void {
    const reason = this.reason()
    this.#cancelled = true
    this.#controller?.abort(reason)
    this.pipe?.leave(reason)
  }

  /** @internal */
  tell(event: Incoming, error: Error | undefined): void {
    this.pipe?.told(event, error)
  }

  #described(): Description {
    this.#description ??= JSON.parse(given(this.#runtime.native.describe(this.id))) as Description
    return this.#description
  }
}
