/** A service from its start to its end. */
import { Client } from './client.js'
import { Cancelled, type MicroError as Failed, given, MicroError } from './errors.js'
import type { Served } from './handler.js'
import { type NativeServer, native } from './native.js'
import { document, type ServiceOptions } from './options.js'
import { record, type ServiceRecord } from './registry.js'
import { type Incoming, Kind, type Runtime, type Sink } from './runtime.js'

/** What a program does around the start and the stop of a service. */
export type Moment = 'before start' | 'after start' | 'before stop' | 'after stop'

/** What runs: a service, with its hooks. */
interface Runs {
  readonly name: string
  readonly options: ServiceOptions
  runHooks(moment: Moment, logs: boolean): Promise<void>
}

export class Running implements Sink {
  readonly holds = true
  readonly server: NativeServer
  readonly ended: Promise<void>
  record: ServiceRecord | undefined
  isOver = false
  readonly #service: Runs
  readonly #runtime: Runtime
  readonly #endpoints: readonly Served[]
  #opened: (() => void) | undefined
  #failed: ((error: unknown) => void) | undefined
  #over!: (error?: unknown) => void
  #client: Client | undefined
  #id = 0
  #isStopping = false

  constructor(service: Runs, runtime: Runtime, endpoints: readonly Served[]) {
    this.#service = service
    this.#runtime = runtime
    this.#endpoints = [...endpoints]
    this.server = given(native.newServer(runtime.native, service.name, document(service.options)))
    this.ended = new Promise((resolve, reject) => {
      this.#over = (error) => (error === undefined ? resolve() : reject(error))
    })
    // Whoever waits hears of it.
    this.ended.catch(() => undefined)
  }

  get isOpen(): boolean {
    return this.record !== undefined && !this.isOver
  }

  async start(): Promise<void> {
    for (const endpoint of this.#endpoints) endpoint.declare(this.server)
    await new Promise<void>((opened, failed) => {
      this.#opened = opened
      this.#failed = failed
      this.#id = this.#runtime.begin(this, (token) => this.server.start(this.#runtime.queue, token))
    })
  }

  /** Begins the stop. Harmless when repeated. */
  stop(): void {
    if (this.#isStopping || this.isOver) return
    this.#isStopping = true
    if (!this.isOpen) {
      this.server.stop()
      return
    }
    void this.#service.runHooks('before stop', true).finally(() => this.server.stop())
  }

  /** Cuts everything off. */
  abort(): void {
    if (this.#id) this.#runtime.cancel(this.#id)
  }

  /** It did not start. */
  abandon(): void {
    this.abort()
    this.isOver = true
    this.#over()
  }

  get client(): Client {
    this.#client ??= Client.of(this.#runtime, given(this.server.client()))
    return this.#client
  }

  tell(event: Incoming): void {
    if (event.kind === Kind.CALL) {
      this.#endpoints[event.method]?.serve(this.#runtime, event)
    } else if (event.kind === Kind.OPENED) {
      this.record = record(JSON.parse(event.text()))
      this.#opened?.()
    }
  }

  end(_: Incoming, error: Failed | undefined): void {
    if (this.record === undefined) {
      this.#failed?.(error ?? new MicroError('the service ended before it had started'))
      return
    }
    // Cancelled is what this program has asked for.
    const why = error instanceof Cancelled ? undefined : error
    this.isOver = true
    void this.#service.runHooks('after stop', true).finally(() => this.#over(why))
  }
}
