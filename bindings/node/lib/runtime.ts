/** The threads of the core, and who hears of what happens on them. */
import { availableParallelism } from 'node:os'
import { performance } from 'node:perf_hooks'
import { isMainThread } from 'node:worker_threads'
import { Closed, Code, errorOf, given, type MicroError } from './errors.js'
import { type LogRecord, records } from './logs.js'
import { type Failure, type NativeQueue, type NativeRuntime, native } from './native.js'

/** Kinds of events, as the bridge numbers them. */
export const Kind = {
  REPLY: 1,
  OPENED: 2,
  MESSAGE: 3,
  END: 4,
  CALL: 5,
  CALL_CANCELLED: 6,
  DELIVERY: 7,
  CHANGE: 8,
  WRITABLE: 9,
  LOG: 11,
  CLOSED: 12,
} as const

/** Numbers of one event, and most events of one turn of the event loop: `src/sheet.rs` writes them in this order. */
const FIELDS = 11
const TURN = 256
const ARENA = 256 * 1024
/** Stands for the start of bytes that are a buffer of their own. */
const APART = -1
/** The kind of ids that name calls that came in: their lowest four bits. */
const CALL_ID = 3

/** Told what becomes of something that this side began. */
export interface Sink {
  /** Whether it keeps the program alive. */
  readonly holds: boolean
  /** It ended in its one answer, or for good. `error` is there when that was a failure. */
  end(event: Incoming, error: MicroError | undefined): void
  /** Something else happened. */
  tell(event: Incoming): void
}

/** A call that came in and whose handler has not ended. */
export interface Inbound {
  /** The caller no longer waits. */
  leave(): void
  /** A message, the end of messages, or room for them. */
  tell(event: Incoming, error: MicroError | undefined): void
}

/** What an event says. There is one, which is written anew for each event: whoever is told copies what it keeps. */
export class Incoming {
  kind = 0
  token = 0
  id = 0
  method = 0
  flags = 0
  /** Milliseconds the caller still waits. */
  timeout = 0
  start = 0
  length = 0
  metaStart = 0
  metaLength = 0
  apart: Buffer | undefined
  metaApart: Buffer | undefined

  constructor(private readonly arena: Buffer) {}

  /** The message as text. */
  text(): string {
    if (this.apart) return this.apart.toString('utf8')
    return this.arena.toString('utf8', this.start, this.start + this.length)
  }

  /** The message in a buffer of the reader's own. */
  bytes(): Buffer {
    return this.apart ?? copy(this.arena, this.start, this.length)
  }

  /** Metadata in a buffer of the reader's own; nothing when there is none. */
  meta(): Buffer | undefined {
    if (this.metaLength === 0) return undefined
    return this.metaApart ?? copy(this.arena, this.metaStart, this.metaLength)
  }
}

function copy(arena: Buffer, start: number, length: number): Buffer {
  const own = Buffer.allocUnsafe(length)
  arena.copy(own, 0, start, start + length)
  return own
}

export interface RuntimeOptions {
  /** How many threads; half as many as processors unless given, 1 to 4. */
  workers?: number
  /** The least grave log record that is told: `off`, `error`, `warn`, `info`, `debug` or `trace`. It holds for the whole process. */
  log?: 'off' | 'error' | 'warn' | 'info' | 'debug' | 'trace'
}

/** Threads of the core. Services and clients share one by default; a program seldom makes its own. */
export class Runtime {
  /** @internal */
  readonly native: NativeRuntime
  /** @internal */
  readonly queue: NativeQueue
  /** @internal When the events that are told now were fetched. */
  taken = 0
  /** @internal Calls whose handler has not ended. */
  readonly calls = new Map<number, Inbound>()

  readonly #numbers = new Float64Array(1 + TURN * FIELDS)
  readonly #arena = Buffer.allocUnsafeSlow(ARENA)
  readonly #event = new Incoming(this.#arena)
  readonly #sinks: (Sink | undefined)[] = []
  readonly #free: number[] = []
  #holding = 0
  #closed = false
  #over: (() => void) | undefined

  constructor(options: RuntimeOptions = {}) {
    atExit()
    const { workers = defaultWorkers(), ...rest } = options
    this.native = given(native.newRuntime(JSON.stringify({ workers, ...rest })))
    this.queue = given(native.newQueue(this.native, () => this.#drain()))
    open.add(this)
    this.#receiveLogs()
  }

  /** @internal Begins something that `sink` is told of: it is there before, because its end may come at once. */
  begin(sink: Sink, begin: (token: number) => number | Failure): number {
    const token = this.#free.pop() ?? this.#sinks.length
    this.#sinks[token] = sink
    if (sink.holds) this.#hold(1)
    let begun = false
    try {
      const id = given<number>(this.#closed ? closed() : begin(token))
      begun = true
      return id
    } finally {
      // What did not begin has no end that would be told.
      if (!begun) this.#take(token)
    }
  }

  /** @internal Keeps the program alive until something is over. */
  async hold<T>(over: Promise<T>): Promise<T> {
    this.#hold(1)
    try {
      return await over
    } finally {
      this.#hold(-1)
    }
  }

  /** @internal Ends a call, a stream or a watch. Harmless when late. */
  cancel(id: number): void {
    this.native.cancel(id)
  }

  /**
   * Ends whatever is under way: services stop in order, calls get `grace` milliseconds to end. Resolves when that is done.
   * Harmless when repeated.
   */
  async close(grace = 0): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    open.delete(this)
    if (shared === this) shared = undefined
    await new Promise<void>((over) => {
      this.#over = over
      this.#hold(1)
      given(this.native.shutdown(grace))
    })
    this.queue.close()
    this.native.free()
    // It took the records from them when it was made.
    for (const other of open) other.#receiveLogs()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Records are the process's: threads beside the main one come and go. */
  #receiveLogs(): void {
    if (isMainThread) given(this.queue.receiveLogs())
  }

  #take(token: number): Sink | undefined {
    const sink = this.#sinks[token]
    if (sink === undefined) return undefined
    this.#sinks[token] = undefined
    this.#free.push(token)
    if (sink.holds) this.#hold(-1)
    return sink
  }

  #hold(more: number): void {
    const before = this.#holding
    this.#holding += more
    if (before === 0 || this.#holding === 0) this.queue.hold(this.#holding > 0)
  }

  #drain(): void {
    const numbers = this.#numbers
    const extras = this.queue.drain(numbers, this.#arena)
    this.taken = performance.now()
    const count = numbers[0] as number
    const event = this.#event
    let extra = 0
    for (let row = 0, at = 1; row < count; row++, at += FIELDS) {
      event.kind = numbers[at] as number
      event.token = numbers[at + 1] as number
      event.id = numbers[at + 2] as number
      event.method = numbers[at + 3] as number
      event.flags = numbers[at + 4] as number
      event.timeout = numbers[at + 5] as number
      event.start = numbers[at + 6] as number
      event.length = numbers[at + 7] as number
      event.metaStart = numbers[at + 8] as number
      event.metaLength = numbers[at + 9] as number
      event.apart = event.start === APART ? (extras[extra++] as Buffer) : undefined
      event.metaApart = event.metaStart === APART ? (extras[extra++] as Buffer) : undefined
      const failure = numbers[at + 10] === 1 ? (extras[extra++] as Failure) : undefined
      try {
        this.#tell(event, failure)
      } catch (error) {
        // The other events are told whatever becomes of this one.
        process.nextTick(() => {
          throw error
        })
      }
    }
  }

  #tell(event: Incoming, failure: Failure | undefined): void {
    const { kind, token, id } = event
    switch (kind) {
      case Kind.REPLY: {
        const sink = this.#take(token)
        sink?.end(event, failure && errorOf(failure, event.meta()))
        return
      }
      case Kind.CALL:
        this.#sinks[token]?.tell(event)
        return
      case Kind.CALL_CANCELLED: {
        const call = this.calls.get(id)
        this.calls.delete(id)
        call?.leave()
        return
      }
      case Kind.LOG:
        records(JSON.parse(event.text()) as LogRecord[])
        return
      case Kind.CLOSED:
        this.#end()
        return
    }
    if (id % 16 === CALL_ID) {
      this.calls.get(id)?.tell(event, failure && errorOf(failure, event.meta()))
    } else if (kind === Kind.END) {
      const sink = this.#take(token)
      sink?.end(event, failure && errorOf(failure, event.meta()))
    } else {
      this.#sinks[token]?.tell(event)
    }
  }

  /** Nothing more will be told. */
  #end(): void {
    this.#closed = true
    for (let token = 0; token < this.#sinks.length; token++) {
      const sink = this.#take(token)
      sink?.end(this.#event, new Closed('the runtime is closed: make a new one'))
    }
    if (this.#over) {
      this.#over()
      this.#hold(-1)
    }
  }
}

function closed(): Failure {
  const detail = 'the runtime is closed: make a new one'
  return { status: 1003, code: Code.CANCELLED, id: 'micro', detail, http: 0, remote: false, reason: '', details: [] }
}

function defaultWorkers(): number {
  return Math.max(1, Math.min(4, Math.floor(availableParallelism() / 2)))
}

const open = new Set<Runtime>()
let isReady = false

/** What is cut off because the program ends is not worth a line each. */
function atExit(): void {
  if (isReady || !isMainThread) return
  isReady = true
  process.once('exit', () => native.setLogLevel('off'))
}

let shared: Runtime | undefined

/** The runtime of this thread, made when it is first asked for. */
export function defaultRuntime(): Runtime {
  shared ??= new Runtime()
  return shared
}
