/** Services: what is served, and from when to when. */
import type { AskOptions, Client } from './client.js'
import { type AnyFormat, raw } from './codec.js'
import type { Context } from './context.js'
import { Cancelled, FailedPrecondition, given } from './errors.js'
import { type AnyHandler, BIDI_STREAM, CLIENT_STREAM, Endpoint, SERVER_STREAM, UNARY } from './handler.js'
import { Job, type JobContext, type JobStatus, type Schedule, statuses } from './jobs.js'
import { failed, thisIsTheProgram } from './logs.js'
import type { Delivery, MessageContext } from './messages.js'
import { checked, type MessageMiddleware, type ServiceMiddleware } from './middleware.js'
import { explained, flags, type Setting } from './operator.js'
import type {
  CronOptions,
  EndpointOptions,
  JobOptions,
  Milliseconds,
  ServiceOptions,
  TypedEndpoint,
  TypedSubscriber,
  TypedTask,
} from './options.js'
import { question } from './question.js'
import type { ServiceRecord } from './registry.js'
import { type Moment, Running } from './running.js'
import { defaultRuntime, type Runtime } from './runtime.js'
import { type AnySubscriber, Subscriber } from './subscriber.js'

/** What a program does around the start and the stop of a service. */
export type Hook = () => unknown

/** Milliseconds each hook may take. */
const LIMIT = 60_000

// biome-ignore lint/suspicious/noExplicitAny: the type of a request that was sent as JSON
type Any = any

/**
 * A service: a name, endpoints, and the time it is served.
 *
 *     const service = new Service('greeter')
 *     service.handle('Greeter.Hello', async (request) => ({ message: `Hello, ${request.name}!` }))
 *     await service.run()
 */
export class Service {
  readonly name: string
  /** @internal */
  options: ServiceOptions
  /** @internal */
  runtime: Runtime | undefined
  readonly #endpoints: Endpoint[] = []
  readonly #subscribers: Subscriber[] = []
  readonly #jobs: Job[] = []
  readonly #layers: { middleware: ServiceMiddleware; endpoints: readonly string[] }[] = []
  readonly #messageLayers: MessageMiddleware[] = []
  readonly #hooks = new Map<Moment, Hook[]>()
  #running: Running | undefined
  #check: Hook | undefined

  /**
   * With `argv: true` the flags that the program was started with, such as `--address=:8080`, come before variables, documents
   * and options; a list of texts does as well. What follows `--` is left to the program. `--help` and `--version` print and
   * end the program with 0, what is wrong ends it with 2.
   */
  constructor(name: string, options: ServiceOptions & { runtime?: Runtime; argv?: boolean | readonly string[] } = {}) {
    if (typeof name !== 'string') throw new TypeError(`the name of a service is ${typeof name}: give text`)
    const { runtime, argv = false, ...rest } = options
    this.name = name
    this.options = { ...rest, ...flags(name, rest, argv) }
    this.runtime = runtime
  }

  /** Serves `name`, such as `Greeter.Hello`, with a function of the request and the `Context` that gives the reply. */
  handle<In = Any, Out = unknown>(
    name: string,
    handler: (request: In, context: Context) => Out | Promise<Out>,
    options?: TypedEndpoint<In, Out>,
  ): this {
    return this.#add(name, UNARY, handler, options)
  }

  /** As `handle`, for one request and many replies: an `async function*`, or one that gives an iterable. */
  serverStream<In = Any, Out = unknown>(
    name: string,
    handler: (request: In, context: Context) => AsyncIterable<Out> | Iterable<Out> | Promise<AsyncIterable<Out>>,
    options?: TypedEndpoint<In, Out>,
  ): this {
    return this.#add(name, SERVER_STREAM, handler, options)
  }

  /** As `handle`, for many requests, which are read with `for await`, and one reply. */
  clientStream<In = Any, Out = unknown>(
    name: string,
    handler: (requests: AsyncIterableIterator<In>, context: Context) => Out | Promise<Out>,
    options?: TypedEndpoint<In, Out>,
  ): this {
    return this.#add(name, CLIENT_STREAM, handler, options)
  }

  /** As `handle`, for many messages each way. */
  bidiStream<In = Any, Out = unknown>(
    name: string,
    handler: (
      requests: AsyncIterableIterator<In>,
      context: Context,
    ) => AsyncIterable<Out> | Iterable<Out> | Promise<AsyncIterable<Out>>,
    options?: TypedEndpoint<In, Out>,
  ): this {
    return this.#add(name, BIDI_STREAM, handler, options)
  }

  #add(name: string, shape: number, handler: AnyHandler, options: TypedEndpoint<Any, Any> = {}): this {
    if (typeof handler !== 'function')
      throw new TypeError(`the handler of ${name} is ${typeof handler}: give a function`)
    if (!(shape & SERVER_STREAM) && handler.constructor.name === 'AsyncGeneratorFunction') {
      throw new TypeError(
        `${name} has one reply, but its handler yields: use serverStream or bidiStream, or \`return\` it`,
      )
    }
    this.#mayAdd(name)
    const { request, response, ...rest } = options
    const named: { request?: string; response?: string } = {}
    const format = (given: AnyFormat | string | undefined, key: 'request' | 'response') => {
      const type = typeof given === 'string' ? given : given?.typeName
      if (type !== undefined) named[key] = type
      return typeof given === 'string' ? undefined : given
    }
    const [read, write] = [format(request, 'request'), format(response, 'response')]
    this.#endpoints.push(new Endpoint(name, shape, handler, { ...rest, ...named }, read, write))
    return this
  }

  /**
   * Handles messages of `topic`, which are delivered by the broker of the service. What the handler throws has the message
   * delivered again where the broker can, `maxAttempts` times, and is then the reason of a dead letter; at once if it forbids
   * another attempt, `new errors.NotFound('no such customer', { retry: false })`.
   *
   * With `manual: true` the handler gets the `Delivery` and settles it by `ack`, `retry` or `reject`. One that ends without has
   * failed.
   */
  subscribe<In = Any>(
    topic: string,
    handler: (delivery: Delivery<In>, context: MessageContext) => unknown,
    options: TypedSubscriber<In> & { manual: true },
  ): this
  subscribe<In = Any>(
    topic: string,
    handler: (message: In, context: MessageContext) => unknown,
    options?: TypedSubscriber<In> & { manual?: false },
  ): this
  subscribe(topic: string, handler: AnySubscriber, options: TypedSubscriber<Any> & { manual?: boolean } = {}): this {
    const { manual = false, ...rest } = options
    return this.#subscribe(topic, handler, rest, manual)
  }

  #subscribe(
    topic: string,
    handler: AnySubscriber,
    options: TypedSubscriber<Any>,
    manual: boolean,
    task?: { answer: AnyFormat | undefined },
  ): this {
    if (typeof handler !== 'function')
      throw new TypeError(`the subscriber of ${topic} is ${typeof handler}: give a function`)
    this.#mayAdd(topic)
    const { format, timeout, ...rest } = options
    const type = typeof format === 'string' ? format : format?.typeName
    // Without one, there is no limit.
    const limit = timeout === undefined || timeout === Infinity ? {} : { timeout }
    const terms = { ...rest, ...limit, ...(type === undefined ? {} : { request: type }) }
    const read = typeof format === 'string' ? undefined : format
    this.#subscribers.push(new Subscriber(topic, handler, terms, read, manual, task))
    return this
  }

  /**
   * Works off the tasks of `topic`: what the handler gives can be asked for with `Client.taskResult`. It is a subscriber like any
   * other, of the queue `tasks` unless another is named, and begins with the first task there is. That needs a broker that keeps
   * messages, such as `durable://`.
   */
  task<In = Any, Out = unknown>(
    topic: string,
    handler: (message: In, context: MessageContext) => Out | Promise<Out>,
    options: TypedTask<In, Out> = {},
  ): this {
    const { answer, ...rest } = options
    return this.#subscribe(topic, handler, rest, false, { answer })
  }

  /**
   * Runs a function once in each interval, such as `'5m'` or a number of milliseconds, 1 s to 366 days. Once in the whole fleet,
   * unless its scope is `node`: that needs a broker that keeps messages, such as `durable://`. What it throws has that run fail;
   * with `retry: false`, for good.
   */
  every(interval: Milliseconds, handler: (context: JobContext) => unknown, options: JobOptions = {}): this {
    return this.#job({ every: interval }, handler, options)
  }

  /**
   * As `every`, at the moments that a cron expression names, such as `0 3 * * *`: minute, hour, day of month, month and day of
   * week, with seconds before them where there are six fields. They are read in UTC, or in `zone`.
   */
  cron(expression: string, handler: (context: JobContext) => unknown, options: CronOptions = {}): this {
    return this.#job({ cron: expression }, handler, options)
  }

  #job(schedule: Schedule, handler: (context: JobContext) => unknown, options: JobOptions): this {
    const job = new Job(schedule, handler, options)
    if (typeof handler !== 'function') throw new TypeError(`${job.name} is ${typeof handler}: give a function`)
    this.#mayAdd(job.name)
    this.#jobs.push(job)
    return this
  }

  /**
   * As `use`, around the handlers of messages and the runs of jobs: `async (context, next) => …`. What it throws, the message
   * fails with; without `next`, the message is handled.
   */
  useForMessages(middleware: MessageMiddleware): this {
    this.#mayAdd('middleware')
    this.#messageLayers.push(checked(middleware, 'the middleware of messages'))
    return this
  }

  #mayAdd(what: string): void {
    if (this.#running !== undefined && !this.#running.isOver) {
      throw new Error(`${this.name} runs already: add ${what} before it is started`)
    }
  }

  /**
   * Puts a function around the handlers: `async (context, next) => …`. `await next()`, or `await next(request)` with another
   * one, runs the handler and gives its reply, which it returns, or another. What it throws is what the call ends with. The
   * first one given is the outermost. With `endpoints`, it is around those alone.
   */
  use(middleware: ServiceMiddleware, options: { endpoints?: readonly string[] } = {}): this {
    this.#mayAdd('middleware')
    const { endpoints = [] } = options
    this.#layers.push({ middleware: checked(middleware, 'the middleware of a service'), endpoints })
    return this
  }

  /** Runs before the service listens; what it throws ends the start. Hooks of one moment run in order, each for 60 s at most. */
  beforeStart(hook: Hook): this {
    return this.#hook('before start', hook)
  }

  /** Runs once the service is registered; what it throws stops it again, and is what the start throws. */
  afterStart(hook: Hook): this {
    return this.#hook('after start', hook)
  }

  /** Runs before a service that is stopped deregisters. What it throws is logged, and the stop goes on. */
  beforeStop(hook: Hook): this {
    return this.#hook('before stop', hook)
  }

  /** Runs when nothing is served any more. What it throws is logged. */
  afterStop(hook: Hook): this {
    return this.#hook('after stop', hook)
  }

  #hook(moment: Moment, hook: Hook): this {
    if (typeof hook !== 'function') throw new TypeError(`the hook \`${moment}\` is ${typeof hook}: give a function`)
    const hooks = this.#hooks.get(moment) ?? []
    hooks.push(hook)
    this.#hooks.set(moment, hooks)
    return this
  }

  /**
   * Asked before each registration: while it throws, gives `false` or takes longer than `registerTimeout`, the node is not
   * registered and health checks fail. The last one given counts.
   */
  registerCheck(check: Hook): this {
    if (typeof check !== 'function') throw new TypeError(`the register check is ${typeof check}: give a function`)
    this.#check = check
    return this
  }

  /** Every setting with its value and what set it, as a start would find them now. Throws `InvalidArgument` for what is wrong. */
  explain(): Setting[] {
    return explained(this.name, this.options)
  }

  /** @internal */
  async runHooks(moment: Moment, logs: boolean): Promise<void> {
    for (const hook of this.#hooks.get(moment) ?? []) {
      try {
        await limited(hook, moment)
      } catch (error) {
        if (!logs) throw error
        failed(`a hook \`${moment}\` failed`, error)
      }
    }
  }

  /** Listens and registers; resolves when callers may come. A service that runs keeps the program alive. */
  async start(): Promise<void> {
    if (this.#running !== undefined && !this.#running.isOver) {
      throw new Error(`${this.name} runs already: stop it first`)
    }
    this.#putLayers()
    const check = this.#check === undefined ? [] : [checkOf(this.name, this.#check)]
    const served = [...this.#endpoints, ...check, ...this.#subscribers, ...this.#jobs]
    const running = new Running(this, this.runtime ?? defaultRuntime(), served)
    this.#running = running
    try {
      await this.runHooks('before start', false)
      await running.start()
    } catch (error) {
      running.abandon()
      throw error
    }
    try {
      await this.runHooks('after start', false)
    } catch (error) {
      // Its own error matters more than what goes wrong on the way down.
      await this.stop().catch(() => undefined)
      throw error
    }
  }

  #putLayers(): void {
    const known = this.#endpoints.map((endpoint) => endpoint.name)
    for (const { endpoints } of this.#layers) {
      const missing = endpoints.filter((name) => !known.includes(name))
      if (missing.length > 0) {
        throw new TypeError(`middleware is for ${missing.join(', ')}, and the endpoints are ${known.join(', ')}`)
      }
    }
    for (const endpoint of this.#endpoints) {
      const mine = this.#layers.filter(({ endpoints }) => endpoints.length === 0 || endpoints.includes(endpoint.name))
      endpoint.layers = mine.map(({ middleware }) => middleware)
    }
    for (const one of [...this.#subscribers, ...this.#jobs]) one.layers = [...this.#messageLayers]
  }

  /** Deregisters, finishes running calls within `grace`, and resolves when that is done. Harmless when repeated. */
  async stop(): Promise<void> {
    const running = this.#running
    if (running === undefined) return
    running.stop()
    await running.ended
  }

  /** Resolves when the service is over. */
  async wait(): Promise<void> {
    await this.#running?.ended
  }

  /** Serves until the program is told to end: SIGTERM and SIGINT stop it in order, a second one at once. */
  async run(): Promise<void> {
    thisIsTheProgram()
    let signals = 0
    const signalled = () => {
      signals++
      if (signals > 1 || !this.#running?.isOpen) this.#running?.abort()
      else this.#running.stop()
    }
    process.on('SIGTERM', signalled)
    process.on('SIGINT', signalled)
    try {
      await this.start()
      if (signals > 0) this.#running?.stop()
      await this.wait()
    } catch (error) {
      if (signals === 0 || !(error instanceof Cancelled)) throw error
    } finally {
      process.off('SIGTERM', signalled)
      process.off('SIGINT', signalled)
    }
  }

  /**
   * Serves one call or one message, and resolves once that is answered or settled, whatever became of it; others that come
   * meanwhile are refused. Before that it ends as `run` does.
   */
  async runOnce(): Promise<void> {
    const before = this.options
    this.options = { ...before, once: true } as ServiceOptions
    try {
      await this.run()
    } finally {
      this.options = before
    }
  }

  /** The service as it is registered, while it runs. */
  get record(): ServiceRecord {
    const { record } = this.#up()
    if (record === undefined) throw new Error(`${this.name} does not run yet: await start()`)
    return record
  }

  /** `host:port` it is reached at, while it runs. */
  get address(): string {
    return this.record.nodes?.[0]?.address ?? ''
  }

  /** A client that shares the service's registry and calls in its name, while it runs. */
  get client(): Client {
    return this.#up().client
  }

  /** Says whether it is ready, as health checks ask; `service` is another name, or empty for the server as a whole. */
  setHealth(serving: boolean, service?: string): void {
    // Its operator may have given it another name.
    given(this.#up().server.setHealth(service ?? this.record.name, serving))
  }

  /** What the service has seen so far: calls by caller and endpoint, running calls, calls it refused. */
  async stats(options?: AskOptions): Promise<Any> {
    return JSON.parse(await this.#up().client.ask(question('service.stats', {}), options))
  }

  /** The jobs of the service: when each runs next, and what became of its last runs. */
  async jobs(options?: AskOptions): Promise<JobStatus[]> {
    return statuses(await this.#up().client.ask(question('service.jobs', {}), options))
  }

  #up(): Running {
    if (this.#running === undefined || this.#running.isOver) {
      throw new Error(`${this.name} does not run: await start()`)
    }
    return this.#running
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

/** The register check, as an endpoint that the core asks. */
function checkOf(name: string, check: Hook): Endpoint {
  const ask = async () => {
    if ((await check()) === false) throw new FailedPrecondition(`the register check of ${name} failed`, { id: name })
    return Buffer.alloc(0)
  }
  return new Endpoint('Register.Check', UNARY, ask, { registerCheck: true } as EndpointOptions, raw, raw)
}

async function limited(hook: Hook, moment: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`a hook \`${moment}\` took longer than ${LIMIT / 1000} s`)), LIMIT)
  })
  try {
    await Promise.race([hook(), late])
  } finally {
    clearTimeout(timer)
  }
}
