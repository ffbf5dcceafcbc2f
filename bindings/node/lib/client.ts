/** Calling services by name. */
import { codecNumber, decode, encode, leaveNothing, leaving, streamCodec } from './codec.js'
import { current } from './context.js'
import { Closed, given, Internal, WrongArgument } from './errors.js'
import { pack, unpack } from './metadata.js'
import { around, Call, type ClientMiddleware, checked, Layered, type Reply, replied, type Shape } from './middleware.js'
import { type NativeClient, native, WAIT } from './native.js'
import {
  type CallOptions,
  type ClientOptions,
  document,
  type Milliseconds,
  milliseconds,
  type TypedAnswer,
  type TypedOptions,
  type TypedPublish,
  type TypedQueue,
} from './options.js'
import { Pipe, type Write } from './pipe.js'
import { publish } from './publish.js'
import { type Question, question } from './question.js'
import {
  type Change,
  change,
  type Health,
  type KnownNode,
  knownNodes,
  period,
  record,
  records,
  type ServiceRecord,
} from './registry.js'
import { defaultRuntime, type Incoming, type Runtime } from './runtime.js'
import { ClientStream, feed, type Opening, opened, Stream } from './streams.js'
import { deliveries, Subscription, since } from './subscription.js'
import { stateOf, type TaskState } from './tasks.js'
import { aborted, Waiting } from './waiting.js'

const IDEMPOTENT = 0x200
const NOT_IDEMPOTENT = 0x400
const COMPRESSED = 0x10
const SHAPES: Record<Shape, number> = { unary: 0, client_stream: 1, server_stream: 2, bidi_stream: 3 }
const NONE = Buffer.alloc(0)

/** Options of what is asked beside calls. */
export interface AskOptions {
  /** Milliseconds to wait for the answer: 10 000 unless given, and no more than the call being served has left. */
  timeout?: number
  /** Ends it when it is aborted. */
  signal?: AbortSignal
}

// biome-ignore lint/suspicious/noExplicitAny: messages of whatever type
type AnyOptions = TypedOptions<any, any>
type Requests<T> = Iterable<T> | AsyncIterable<T>

/**
 * Calls services by name, wherever they run.
 *
 *     const client = new Client()
 *     const reply = await client.call('greeter', 'Greeter.Hello', { name: 'Ada' }, { timeout: 2000 })
 *
 * A request is bytes, or whatever can be JSON, or what the `Format` given as `request` writes. Inside of a handler, calls are
 * part of the call that is served: deadline, trace and metadata go on, and they end when it ends; `detached: true` makes one
 * that is not.
 */
export class Client {
  /** @internal */
  readonly underWay = new Set<number>()
  readonly #runtime: Runtime
  readonly #native: NativeClient
  readonly #layers: ClientMiddleware[] = []
  #closed = false

  constructor(options: ClientOptions & { runtime?: Runtime } = {}) {
    const { runtime = defaultRuntime(), ...rest } = options
    this.#runtime = runtime
    this.#native = OWN in rest ? (rest[OWN] as NativeClient) : given(native.newClient(runtime.native, document(rest)))
  }

  /** @internal A client that a service has. */
  static of(runtime: Runtime, own: NativeClient): Client {
    return new Client({ runtime, [OWN]: own } as ClientOptions & { runtime: Runtime })
  }

  /**
   * Makes a call and gives the reply. Throws what the far side said or what kept the call from it, a `MicroError` that knows
   * endpoint, node and attempts. Aborting `options.signal` cancels the call, on both sides.
   */
  // biome-ignore lint/suspicious/noExplicitAny: what a JSON reply is, the far side decides
  call<In = any, Out = unknown>(
    service: string,
    endpoint: string,
    request?: Out,
    options?: TypedOptions<Out, In>,
  ): Promise<In> {
    if (this.#layers.length > 0)
      return this.request(service, endpoint, request, options).then((reply) => reply.message as In)
    const given = options as AnyOptions | undefined
    const what = 'the reply'
    return this.#unary(service, endpoint, request, given, (event) =>
      decode(event, given?.returns, what, Internal),
    ) as Promise<In>
  }

  /** As `call`, and gives the reply with its headers and trailers. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  async request<In = any, Out = unknown>(
    service: string,
    endpoint: string,
    request?: Out,
    options?: TypedOptions<Out, In>,
  ): Promise<Reply<In>> {
    const make = async (call: Call) => {
      const terms = call.options as AnyOptions
      return this.#unary(call.service, call.endpoint, call.request, terms, (event) => {
        const message = decode(event, terms.returns, 'the reply', Internal)
        const [headers, trailers] = unpack(event.meta())
        return { message, headers, trailers, compressed: (event.flags & COMPRESSED) !== 0 }
      })
    }
    const call = new Call(service, endpoint, request, { ...options } as CallOptions, 'unary')
    if (this.#layers.length === 0) return (await make(call)) as Reply<In>
    return replied(await around(this.#layers, make)(call)) as Reply<In>
  }

  /**
   * Puts a function around every call from here on: `async (call, next) => …`. The first one given is the outermost. What it
   * throws is what the call ends with.
   */
  use(middleware: ClientMiddleware): this {
    this.#layers.push(checked(middleware, 'the middleware of a client'))
    return this
  }

  /** One request, many replies. There is no timeout unless one is given. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  serverStream<In = any, Out = unknown>(
    service: string,
    endpoint: string,
    request?: Out,
    options?: TypedOptions<Out, In>,
  ): Stream<never, In> {
    return new Stream(
      this.#stream(new Call(service, endpoint, request, { ...options } as CallOptions, 'server_stream')),
    )
  }

  /**
   * Many requests, one reply: await what this gives. Given `requests`, it sends them by itself; without, use `send` and `end`.
   * There is no timeout unless one is given. Unless `codec` says it, messages are what the first request suggests if it is
   * there already, and JSON if not.
   */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  clientStream<In = any, Out = unknown>(
    service: string,
    endpoint: string,
    requests?: Requests<Out>,
    options?: TypedOptions<Out, In>,
  ): ClientStream<Out, In> {
    const call = new Call(service, endpoint, requests, { ...options } as CallOptions, 'client_stream')
    return new ClientStream(this.#stream(call))
  }

  /** Many messages each way, at once: read what this gives. The rest is as with `clientStream`. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  bidiStream<In = any, Out = unknown>(
    service: string,
    endpoint: string,
    requests?: Requests<Out>,
    options?: TypedOptions<Out, In>,
  ): Stream<Out, In> {
    return new Stream(this.#stream(new Call(service, endpoint, requests, { ...options } as CallOptions, 'bidi_stream')))
  }

  /**
   * Publishes a message, and resolves once it is as safe as the broker makes messages. Inside of a handler, metadata and trace of
   * what is handled go along, and it ends with that; not with `detached: true`.
   */
  async publish<Out = unknown>(topic: string, message: Out, options: TypedPublish<Out> = {}): Promise<void> {
    const nothing = () => undefined
    await this.#wait(nothing, options.signal, (token, parent) =>
      publish(this.#native, this.#runtime.queue, token, topic, message, options, parent),
    )
  }

  /**
   * Sends a message whose answer can be asked for, and resolves with its id: `Service.task` works it off. As `publish`, with a
   * broker that keeps messages, such as `durable://`.
   */
  task<Out = unknown>(topic: string, message: Out, options: TypedPublish<Out> = {}): Promise<string> {
    const read = (event: Incoming) => event.text()
    return this.#wait(read, options.signal, (token, parent) =>
      publish(this.#native, this.#runtime.queue, token, topic, message, options, parent, true),
    ) as Promise<string>
  }

  /**
   * Waits for the answer of a task, whichever process sent it, for 10 s unless `timeout` says otherwise. Throws `DeadlineExceeded`
   * where there is none by then: it may come later. The error of its last attempt, where it was given up. It is kept for a day.
   */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  taskResult<Out = any>(id: string, options: AskOptions & TypedAnswer<Out> = {}): Promise<Out> {
    const { timeout, signal, format } = options
    const [operation, args] = question('task.result', { id })
    const read = (event: Incoming) => decode(event, format, 'the answer of the task', Internal)
    return this.#wait(read, signal, (token, parent) =>
      this.#native.ask(this.#runtime.queue, token, operation, args, milliseconds(timeout), parent),
    ) as Promise<Out>
  }

  /** How far a task has come. One whose results are kept no longer is told as queued. */
  async taskState(id: string, options?: AskOptions): Promise<TaskState> {
    return stateOf(await this.ask(question('task.state', { id }), options))
  }

  /**
   * Messages of a topic, which the program takes when it is ready for each, and settles: `for await (const delivery of …)`.
   * Services have handlers for them: see `Service.subscribe`. `options.timeout` is for the beginning.
   */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  subscribe<In = any>(topic: string, options: AskOptions & TypedQueue<In> = {}): Subscription<In> {
    const { timeout, signal, format, queue, start, maxInFlight, maxAttempts, lease, deadLetters } = options
    const [operation, args] = question('broker.subscribe', {
      topic,
      queue,
      start: since(start),
      max_in_flight: maxInFlight,
      max_attempts: maxAttempts,
      lease: period(lease),
      dead_letters: deadLetters,
    })
    const pipe = deliveries(this.#runtime, topic, format, maxInFlight)
    this.#begin(pipe, signal, (token, parent) =>
      this.#native.follow(this.#runtime.queue, token, operation, args, milliseconds(timeout), parent),
    )
    return new Subscription(this.#runtime, pipe)
  }

  /** Versions and nodes of a service, as the registry knows them. Throws `NotFound` when there is none. */
  async lookup(service: string, options?: AskOptions): Promise<ServiceRecord[]> {
    return records(await this.ask(question('registry.get', { service }), options))
  }

  /** Every service the registry knows. */
  async services(options?: AskOptions): Promise<ServiceRecord[]> {
    return records(await this.ask(question('registry.list', {}), options))
  }

  /**
   * Adds the nodes of a record to the registry, or refreshes those it knows. They live for `ttl` without another
   * registration; for ever unless it is given. Services do this by themselves.
   */
  async register(service: ServiceRecord, options: AskOptions & { ttl?: Milliseconds } = {}): Promise<void> {
    const { ttl, ...rest } = options
    await this.ask(question('registry.register', { service: record(service), ttl: period(ttl) }), rest)
  }

  /** Removes the nodes of a record from the registry; those it does not know are no error. */
  async deregister(service: ServiceRecord, options?: AskOptions): Promise<void> {
    await this.ask(question('registry.deregister', { service: record(service) }), options)
  }

  /** Asks each node of a service whether it wants calls. */
  async health(service: string, options?: AskOptions): Promise<Health[]> {
    return JSON.parse(await this.ask(question('client.health', { service }), options))
  }

  /** The nodes of a service that this client chooses from, with what it has seen of each. */
  async nodes(service: string, options?: AskOptions): Promise<KnownNode[]> {
    return knownNodes(await this.ask(question('client.nodes', { service }), options))
  }

  /** What this client has seen so far: calls, failures and latencies by endpoint. */
  // biome-ignore lint/suspicious/noExplicitAny: numbers by name
  async stats(options?: AskOptions): Promise<any> {
    return JSON.parse(await this.ask(question('client.stats', {}), options))
  }

  /** What changes of a service, or of all, from now on. `options.timeout` is for its beginning. */
  async watch(service?: string, options: AskOptions = {}): Promise<Stream<never, Change>> {
    const pipe = new Pipe(this.#runtime, (event) => change(event.text()))
    const [operation, args] = question('registry.watch', { service })
    this.#begin(pipe, options.signal, (token, parent) =>
      this.#native.follow(this.#runtime.queue, token, operation, args, milliseconds(options.timeout), parent),
    )
    await pipe.opened()
    if (pipe.ended && pipe.error) throw pipe.error
    return new Stream(opened(pipe, sendsNothing))
  }

  /** Cancels what is under way, and makes no more calls. Harmless when repeated. */
  close(): void {
    this.#closed = true
    for (const id of [...this.underWay]) this.#runtime.cancel(id)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  #open(): void {
    if (this.#closed) throw new Closed('this client is closed: make a new one')
  }

  /** @internal Asks something that has one answer. */
  ask([operation, args]: Question, options: AskOptions = {}): Promise<string> {
    const read = (event: Incoming) => event.text()
    return this.#wait(read, options.signal, (token, parent) =>
      this.#native.ask(this.#runtime.queue, token, operation, args, milliseconds(options.timeout), parent),
    ) as Promise<string>
  }

  #unary(
    service: string,
    endpoint: string,
    request: unknown,
    options: AnyOptions | undefined,
    read: (event: Incoming) => unknown,
  ): Promise<unknown> {
    return this.#wait(read, options?.signal, (token, parent) => {
      const codec = codecNumber(options?.codec, request, options?.request)
      encode(request, codec, options?.request, 'the request', WrongArgument)
      return this.#send(token, 0, service, endpoint, options, codec, parent)
    })
  }

  /** Begins something with one answer. */
  #wait(
    read: (event: Incoming) => unknown,
    signal: AbortSignal | undefined,
    begin: (token: number, parent: number) => ReturnType<NativeClient['call']>,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#open()
      if (signal?.aborted) throw aborted(signal)
      const parent = current.getStore()?.id ?? 0
      const waiting = new Waiting(this.underWay, resolve, reject, read, signal)
      waiting.begun(
        this.#runtime,
        this.#runtime.begin(waiting, (token) => begin(token, parent)),
      )
    })
  }

  /** Begins something that goes on. */
  #begin(
    pipe: Pipe,
    signal: AbortSignal | undefined,
    begin: (token: number, parent: number) => ReturnType<NativeClient['call']>,
  ): void {
    this.#open()
    if (signal?.aborted) throw aborted(signal)
    const parent = current.getStore()?.id ?? 0
    const id = this.#runtime.begin(pipe, (token) => begin(token, parent))
    this.underWay.add(id)
    const abort = () => pipe.cancel(aborted(signal as AbortSignal))
    signal?.addEventListener('abort', abort, { once: true })
    pipe.onEnd = () => {
      this.underWay.delete(id)
      signal?.removeEventListener('abort', abort)
    }
    pipe.start(id)
  }

  /** Hands what is leaving to the native part. */
  #send(
    token: number,
    shape: number,
    service: string,
    endpoint: string,
    options: AnyOptions | undefined,
    codec: number,
    parent: number,
  ): ReturnType<NativeClient['call']> {
    const { bytes, length } = leaving
    let meta: Uint8Array = NONE
    let timeout = 0
    let text = ''
    let flags = codec | WAIT
    let within = parent
    if (options) {
      const { request, returns, codec: _, signal, metadata, idempotent, detached, timeout: limit, ...rest } = options
      // What is text is for the core to read, or to refuse.
      if (typeof metadata === 'string') Object.assign(rest, { metadata })
      else meta = pack(metadata)
      if (typeof limit === 'string') Object.assign(rest, { timeout: limit })
      else timeout = milliseconds(limit === null ? Infinity : limit)
      if (idempotent !== undefined) flags |= idempotent ? IDEMPOTENT : NOT_IDEMPOTENT
      if (detached) within = 0
      text = document(rest)
    }
    const queue = this.#runtime.queue
    return this.#native.call(queue, token, shape, service, endpoint, bytes, length, meta, timeout, within, text, flags)
  }

  #stream(call: Call): Opening {
    if (this.#layers.length === 0) {
      const { pipe, write } = this.#opened(call)
      return opened(pipe, write)
    }
    return new Layered((layered) =>
      around(this.#layers, async (call) => {
        const { pipe, write } = this.#opened(call)
        layered.open(pipe, write)
        const own = opened(pipe, write)
        return call.shape === 'client_stream' ? await new ClientStream(own) : new Stream(own)
      })(call),
    )
  }

  #opened(call: Call): { pipe: Pipe; write: Write } {
    const { service, endpoint, shape, request } = call
    const options = call.options as AnyOptions
    const pipe = new Pipe(this.#runtime, (event) => decode(event, options.returns, 'a reply', Internal))
    let codec: number
    let write: Write = sendsNothing
    if (shape === 'server_stream') {
      codec = codecNumber(options.codec, request, options.request)
    } else {
      codec = streamCodec(options, request)
      write = (message) => encode(message, codec, options.request, 'a request', WrongArgument)
    }
    this.#begin(pipe, options.signal, (token, parent) => {
      if (shape === 'server_stream') encode(request, codec, options.request, 'the request', WrongArgument)
      else leaveNothing()
      return this.#send(token, SHAPES[shape], service, endpoint, options, codec, parent)
    })
    if (shape !== 'server_stream' && request !== undefined && request !== null) {
      void feed(pipe, write, request as Requests<unknown>)
    }
    return { pipe, write }
  }
}

const OWN: unique symbol = Symbol('a client of a service')

function sendsNothing(): never {
  throw new TypeError('this stream sends no messages: its one request was sent when it was opened')
}
