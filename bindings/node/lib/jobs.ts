/** Jobs: functions that a service runs by the clock, and what is known of their runs. */
import { current } from './context.js'
import { Cancelled, DeadlineExceeded, given } from './errors.js'
import { fail, isLater, type Served, told } from './handler.js'
import { MessageContext } from './messages.js'
import { inside, type MessageMiddleware } from './middleware.js'
import type { NativeServer } from './native.js'
import { document, type JobOptions, type Milliseconds } from './options.js'
import type { Incoming, Runtime } from './runtime.js'

/** The run of a job that is carried out. Middleware around messages sees it as one without a message, of the topic of its name. */
export class JobContext extends MessageContext {
  /** Name of the job. */
  get job(): string {
    return this.facts.text('job') ?? ''
  }

  override get topic(): string {
    return this.job
  }

  override get published(): Date {
    return this.time
  }

  /** When it was to run. */
  get time(): Date {
    return new Date(Number(this.facts.text('time') ?? 0))
  }

  /** Which attempt at this run it is, from 1. One whose node died is attempted again, whatever its handler had done by then. */
  override get attempt(): number {
    return Number(this.facts.text('attempt') ?? 1)
  }

  /** @internal Why the handler is not waited for any longer. */
  override reason(): Cancelled | DeadlineExceeded {
    return this.remaining === 0
      ? new DeadlineExceeded('the time for this run is over', { id: 'micro' })
      : new Cancelled('the service gives this run up', { id: 'micro' })
  }
}

/** What is remembered of a run. */
export interface Run {
  /** When it was to run. */
  readonly time: Date
  /** Which attempt at it this was, from 1. */
  readonly attempt: number
  /** Id of the node that ran it. */
  readonly node: string
  /** When it began, by the clock of that node. */
  readonly began: Date
  /** Milliseconds that it took, once it has ended. */
  readonly took: number | undefined
  /** `skipped`: its time had passed. `lost`: its node died, and another took it over. */
  readonly outcome: 'running' | 'done' | 'failed' | 'skipped' | 'lost'
  /** Why it failed. */
  readonly error: string | undefined
}

/** A job of a service, and its last runs. */
export interface JobStatus {
  readonly name: string
  /** When it runs, for people. */
  readonly schedule: string
  readonly scope: 'fleet' | 'node'
  /** When it runs next. */
  readonly next: Date | undefined
  /** 100 at most, the oldest first: those of the fleet, or those of this node since it started. */
  readonly runs: readonly Run[]
}

/** When a job runs. */
export type Schedule = { every: Milliseconds } | { cron: string }

const NONE = Buffer.alloc(0)

/** A job of a service. */
export class Job implements Served {
  layers: readonly MessageMiddleware[] = []
  readonly name: string

  constructor(
    private readonly schedule: Schedule,
    private readonly handler: (context: JobContext) => unknown,
    private readonly options: JobOptions,
  ) {
    const [when] = Object.values(schedule)
    this.name = `the job ${options.name ?? when}`
  }

  declare(server: NativeServer): void {
    given(server.job(document({ ...this.options, ...this.schedule })))
  }

  serve(runtime: Runtime, event: Incoming): void {
    const context = new JobContext(runtime, event)
    let ran: unknown
    try {
      ran = current.run(context, this.#run, context)
    } catch (error) {
      fail(runtime, context, this.name, error)
      return
    }
    if (!isLater(ran)) {
      this.#finish(runtime, context)
      return
    }
    runtime.calls.set(context.id, context)
    ran.then(
      () => this.#finish(runtime, context),
      (error) => fail(runtime, context, this.name, error),
    )
  }

  readonly #run = (context: JobContext): unknown => {
    return inside<MessageContext>(this.layers, () => this.handler(context), undefined, context)
  }

  #finish(runtime: Runtime, context: JobContext): void {
    runtime.calls.delete(context.id)
    if (!context.cancelled) told(context, runtime.native.reply(context.id, NONE, 0, NONE))
  }
}

interface ToldRun {
  time_ms: number
  attempt: number
  node: string
  began_ms: number
  took_ms: number | null
  outcome: Run['outcome']
  error: string | null
}

interface ToldStatus {
  name: string
  schedule: string
  scope: JobStatus['scope']
  next_ms: number | null
  runs: ToldRun[]
}

/** @internal Jobs as the core tells them. */
export function statuses(told: string): JobStatus[] {
  return (JSON.parse(told) as ToldStatus[]).map(({ name, schedule, scope, next_ms, runs }) => ({
    name,
    schedule,
    scope,
    next: next_ms === null ? undefined : new Date(next_ms),
    runs: runs.map(({ time_ms, attempt, node, began_ms, took_ms, outcome, error }) => ({
      time: new Date(time_ms),
      attempt,
      node,
      began: new Date(began_ms),
      took: took_ms ?? undefined,
      outcome,
      error: error ?? undefined,
    })),
  }))
}
