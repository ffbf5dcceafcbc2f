/** What a program provides by itself, opened by URL as any other: a registry of its own, and what brokers have in common with it. */
import type { Context } from './context.js'
import { given, type MicroError } from './errors.js'
import { Endpoint, SERVER_STREAM, UNARY } from './handler.js'
import { native } from './native.js'
import { type Change, record, type ServiceRecord } from './registry.js'
import { defaultRuntime, type Incoming, Kind, type Runtime } from './runtime.js'

/** What a method gives, at once or later. */
export type Maybe<T> = T | Promise<T>

/**
 * A registry written in JavaScript: what `provide` takes. What its methods throw reaches the caller: a `MicroError` with its
 * code, anything else as `Internal`.
 */
export interface Registry {
  /**
   * Adds the nodes of a record, or refreshes those that are known, for `ttl` milliseconds; for ever without it. Changed
   * addresses, metadata or endpoints replace what was there.
   */
  register(service: ServiceRecord, ttl?: number): Maybe<void>
  /** Removes the nodes of a record, and nothing else. An unknown node is no error. */
  deregister(service: ServiceRecord): Maybe<void>
  /** Every version of a service with its live nodes; none, or `NotFound`, where there is no node. */
  get(name: string): Maybe<Iterable<ServiceRecord>>
  /** Every service, by name, then version. Nodes and endpoints may be left out. */
  list(): Maybe<Iterable<ServiceRecord>>
  /**
   * Changes of one service, or of all, each with only the nodes it affects. Every change after this has returned is told: so
   * it is no generator function, which begins with the first `next`; it subscribes, then returns an iterable. Its iterator's
   * `return` is called when its reader has left, and ends a `next` that waits.
   */
  watch(name?: string): Maybe<AsyncIterable<Change>>
}

const REGISTRY = 0x02
/** @internal The metadata that has the arguments of a question. */
export const ARGS = 'micro-args-bin'
const METHODS = ['register', 'deregister', 'get', 'list', 'watch'] as const

interface Args {
  service: ServiceRecord & string
  ttl?: number | null
}

/** What answers for something that is provided: its area, with what it can do, and its operations in the order of their numbers. */
export interface Serving {
  readonly area: number
  readonly endpoints: readonly Endpoint[]
}

/** A registry or a broker that is provided under a name. Closing it withdraws the name. It keeps no program alive. */
export class Provided {
  /** @internal */
  readonly holds = false
  readonly #runtime: Runtime
  readonly #id: number
  readonly #endpoints: readonly Endpoint[]
  readonly #over: Promise<void>
  #ended!: () => void

  /** @internal */
  constructor(
    readonly name: string,
    { area, endpoints }: Serving,
    runtime: Runtime,
  ) {
    this.#runtime = runtime
    this.#endpoints = endpoints
    this.#over = new Promise((ended) => {
      this.#ended = ended
    })
    const { native: threads, queue } = runtime
    this.#id = runtime.begin(this, (token) => native.provide(threads, area, name, queue, token))
  }

  /** The URL that opens it in this process, such as `host://mine`. */
  get url(): string {
    return urlOf(this.name)
  }

  /** Withdraws the name, and resolves when it is free. What was opened by it fails with `Unavailable`. */
  async close(): Promise<void> {
    given(this.#runtime.native.cancel(this.#id))
    await this.#runtime.hold(this.#over)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** @internal */
  tell(event: Incoming): void {
    if (event.kind !== Kind.CALL) return
    // Numbers of operations begin with 1, after their area.
    this.#endpoints[(event.method & 0xff) - 1]?.serve(this.#runtime, event)
  }

  /** @internal */
  end(_: Incoming, __: MicroError | undefined): void {
    this.#ended()
  }
}

/** @internal The URL of what is provided under a name. */
export function urlOf(name: string): string {
  return `host://${name}`
}

/** Answers what is asked of a registry. */
class RegistryServing implements Serving {
  readonly area = REGISTRY
  readonly endpoints: readonly Endpoint[]
  readonly #registry: Registry

  constructor(url: string, registry: Registry) {
    for (const method of METHODS) {
      if (typeof registry?.[method] !== 'function')
        throw new TypeError(`it is no registry: it has no method \`${method}\``)
    }
    this.#registry = registry
    const unary = (verb: string, work: (args: Args) => Promise<Buffer>) =>
      new Endpoint(`${url} ${verb}`, UNARY, (_, context) => work(asked<Args>(context)))
    this.endpoints = [
      unary('get', async ({ service }) => answer('get', await registry.get(service))),
      unary('list', async () => answer('list', await registry.list())),
      new Endpoint(`${url} watch`, SERVER_STREAM, (_, context) => this.#watch(asked<Args>(context).service)),
      unary('register', async ({ service, ttl }) =>
        nothing(await registry.register(record(service), ttl ?? undefined)),
      ),
      unary('deregister', async ({ service }) => nothing(await registry.deregister(record(service)))),
    ]
  }

  async #watch(name: string | undefined): Promise<AsyncIterable<Buffer>> {
    const changes = await this.#registry.watch(name ?? undefined)
    if (typeof changes?.[Symbol.asyncIterator] !== 'function') {
      throw new TypeError('watch returned no asynchronous iterable: return one of changes')
    }
    const iterator = changes[Symbol.asyncIterator]()
    // Nothing says that every change from now on will be told.
    let first = true
    return {
      [Symbol.asyncIterator]: () => ({
        async next() {
          if (first) {
            first = false
            return { done: false as const, value: Buffer.alloc(0) }
          }
          const told = await iterator.next()
          if (told.done) return { done: true as const, value: undefined }
          const { action, service } = told.value
          return { done: false as const, value: json({ action, service: record(service) }) }
        },
        async return() {
          await iterator.return?.()
          return { done: true as const, value: undefined }
        },
      }),
    }
  }
}

/**
 * Makes `host://name` the URL of a registry of the program's own, for services and clients of this process. A name has
 * letters, digits, `-`, `_` and `.`. Throws `AlreadyExists` for a name that is taken.
 */
export function provide(name: string, registry: Registry, options: { runtime?: Runtime } = {}): Provided {
  return new Provided(name, new RegistryServing(urlOf(name), registry), options.runtime ?? defaultRuntime())
}

/** @internal The arguments of a question. */
export function asked<T>(context: Context): T {
  const text = context.metadata.get(ARGS) ?? '{}'
  return JSON.parse(typeof text === 'string' ? text : Buffer.from(text).toString('utf8')) as T
}

function answer(method: string, found: Iterable<ServiceRecord>): Buffer {
  if (typeof found !== 'object' || found === null || !(Symbol.iterator in found)) {
    throw new TypeError(`${method} returned ${typeof found}: return a list of records`)
  }
  return json(Array.from(found, record))
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

function nothing(_: unknown): Buffer {
  return Buffer.alloc(0)
}
