/** Subscribers of a service, and what becomes of the messages they are given. */
import { type AnyFormat, decode, encode, leaving } from './codec.js'
import { current } from './context.js'
import { Aborted, DeadlineExceeded, given, Internal, InvalidArgument, type MicroError } from './errors.js'
import { fail, isLater, type Served, told } from './handler.js'
import { failed } from './logs.js'
import { Delivery, MessageContext } from './messages.js'
import { inside, type MessageMiddleware } from './middleware.js'
import type { NativeServer } from './native.js'
import { document, type SubscriberOptions } from './options.js'
import type { Incoming, Runtime } from './runtime.js'

// biome-ignore lint/suspicious/noExplicitAny: any message, or a delivery of one
export type AnySubscriber = (message: any, context: MessageContext) => unknown

const NONE = Buffer.alloc(0)

/** A subscriber of a service. */
export class Subscriber implements Served {
  layers: readonly MessageMiddleware[] = []
  readonly name: string

  constructor(
    readonly topic: string,
    private readonly handler: AnySubscriber,
    private readonly options: SubscriberOptions & { request?: string },
    private readonly format: AnyFormat | undefined,
    private readonly manual: boolean,
    /** Of a worker, whose answers can be asked for: how they are written. */
    private readonly task?: { readonly answer: AnyFormat | undefined },
  ) {
    this.name = `the subscriber of ${topic}`
  }

  declare(server: NativeServer): void {
    given(server.subscribe(this.topic, document(this.task ? { ...this.options, task: true } : this.options)))
  }

  serve(runtime: Runtime, event: Incoming): void {
    const context = new MessageContext(runtime, event)
    if (context.isLate) {
      fail(runtime, context, this.name, new DeadlineExceeded('its time was over when its turn came', { id: 'micro' }))
      return
    }
    let message: unknown
    try {
      message = decode(event, this.format, `the message of ${this.topic}`, InvalidArgument)
    } catch (wrong) {
      const { detail, id } = wrong as MicroError
      fail(runtime, context, this.name, new InvalidArgument(detail, { id, retry: false, cause: wrong }))
      return
    }
    let handled: unknown
    try {
      handled = current.run(context, this.#handle, runtime, context, message)
    } catch (error) {
      this.#fail(runtime, context, error)
      return
    }
    if (!isLater(handled)) {
      this.#finish(runtime, context, handled)
      return
    }
    runtime.calls.set(context.id, context)
    handled.then(
      (answer) => this.#finish(runtime, context, answer),
      (error) => this.#fail(runtime, context, error),
    )
  }

  readonly #handle = (runtime: Runtime, context: MessageContext, message: unknown): unknown => {
    const handler = this.manual
      ? (message: unknown) => {
          context.delivery = new Delivery(runtime, context.id, message, context.metadata, context.facts)
          return this.handler(context.delivery, context)
        }
      : this.handler
    return inside(this.layers, handler, message, context)
  }

  #finish(runtime: Runtime, context: MessageContext, answer: unknown): void {
    if (this.task !== undefined) {
      this.#answer(runtime, context, answer, this.task.answer)
    } else if (context.delivery?.settled) {
      runtime.calls.delete(context.id)
    } else if (context.delivery !== undefined) {
      const why = `${this.name} ended without saying what became of its message: call ack, retry or reject before that`
      fail(runtime, context, this.name, new Aborted(why, { id: 'micro' }))
    } else {
      runtime.calls.delete(context.id)
      if (!context.cancelled) told(context, runtime.native.reply(context.id, NONE, 0, NONE))
    }
  }

  #answer(runtime: Runtime, context: MessageContext, answer: unknown, format: AnyFormat | undefined): void {
    runtime.calls.delete(context.id)
    if (context.cancelled) return
    try {
      encode(answer, context.flags, format, `what the handler of ${this.topic} returned`, Internal)
      told(context, runtime.native.reply(context.id, leaving.bytes, leaving.length, NONE))
    } catch (error) {
      this.#fail(runtime, context, error)
    }
  }

  #fail(runtime: Runtime, context: MessageContext, error: unknown): void {
    if (!context.delivery?.settled) {
      fail(runtime, context, this.name, error)
      return
    }
    runtime.calls.delete(context.id)
    failed(`${this.name} failed after it had settled its message`, error)
  }
}
