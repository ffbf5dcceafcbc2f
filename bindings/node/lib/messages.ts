/** Messages of topics: what is known of one, and the way to say what became of it. */
import { Context } from './context.js'
import { Cancelled, DeadlineExceeded, given } from './errors.js'
import { type CloudEvent, eventOf } from './event.js'
import { failed } from './logs.js'
import type { Metadata } from './metadata.js'
import type { Runtime } from './runtime.js'

/** What is known of a message that was delivered. */
export interface Delivered {
  /** The topic it was published to. */
  readonly topic: string
  /** How often it was delivered to its queue, this time included. */
  readonly attempt: number
  /** Its number, which grows through its topic; `undefined` where the broker keeps no messages. */
  readonly sequence: number | undefined
  /** When it was published. */
  readonly published: Date
  /** What it was published with as `key`: messages of one key are delivered one after the other. */
  readonly key: string | undefined
  /** What it was published with as `id`. */
  readonly messageId: string | undefined
  /** 0 to 9: of messages that wait, the highest is delivered first. */
  readonly priority: number
  /** What it is on the wire, as its publisher said, such as `application/json`. */
  readonly contentType: string | undefined
  /** Metadata its publisher sent. */
  readonly metadata: Metadata
  /** What it says of itself as an event of CloudEvents 1.0; `undefined` where it is none. Throws `InvalidArgument` for a wrong one. */
  readonly cloudEvent: CloudEvent | undefined
}

/** A message that is being handled. */
export class MessageContext extends Context implements Delivered {
  /** @internal Of a handler that settles by itself. */
  delivery: Delivery<unknown> | undefined
  #known: Known | undefined

  /** The message, as middleware sees it. */
  get message(): unknown {
    return this.request
  }

  get topic(): string {
    return this.#facts.topic
  }

  get attempt(): number {
    return this.#facts.attempt
  }

  get sequence(): number | undefined {
    return this.#facts.sequence
  }

  get published(): Date {
    return this.#facts.published
  }

  get key(): string | undefined {
    return this.#facts.key
  }

  get messageId(): string | undefined {
    return this.#facts.messageId
  }

  get priority(): number {
    return this.#facts.priority
  }

  get contentType(): string | undefined {
    return this.#facts.contentType
  }

  get cloudEvent(): CloudEvent | undefined {
    return eventOf(this.metadata)
  }

  /** @internal Why the handler is not waited for any longer. */
  override reason(): Cancelled | DeadlineExceeded {
    return this.remaining === 0
      ? new DeadlineExceeded('the time for this message is over', { id: 'micro' })
      : new Cancelled('the service gives this message up', { id: 'micro' })
  }

  get #facts(): Known {
    this.#known ??= known(this.facts)
    return this.#known
  }
}

type Known = Omit<Delivered, 'metadata' | 'cloudEvent'>

function known(facts: Metadata): Known {
  const sequence = facts.text('sequence')
  return {
    topic: facts.text('topic') ?? '',
    attempt: Number(facts.text('attempt') ?? 1),
    sequence: sequence === undefined ? undefined : Number(sequence),
    published: new Date(Number(facts.text('published') ?? 0)),
    key: facts.text('key'),
    messageId: facts.text('id'),
    priority: Number(facts.text('priority') ?? 0),
    contentType: facts.text('type'),
  }
}

const ACK = 0
const RETRY = 1
const REJECT = 2
const EXTEND = 3

/** A message whose settling was forgotten is another's: what holds it would hold it for ever. */
const forgotten = new FinalizationRegistry<{ runtime: Runtime; id: number; topic: string }>(
  ({ runtime, id, topic }) => {
    const reason = 'its consumer let go of it without a word'
    if (runtime.native.settle(id, RETRY, 0, reason) !== true) return
    failed(`a message of ${topic} is delivered again, because ${reason}: call ack, retry or reject`, undefined)
  },
)

/**
 * A message that the program settles: `ack`, `retry` or `reject` says what became of it, once. Each gives false when that was
 * said before, or when the message is not this consumer's any more.
 */
export class Delivery<T> implements Delivered {
  readonly topic: string
  readonly attempt: number
  readonly sequence: number | undefined
  readonly published: Date
  readonly key: string | undefined
  readonly messageId: string | undefined
  readonly priority: number
  readonly contentType: string | undefined
  readonly #runtime: Runtime
  readonly #id: number
  #settled = false

  /** @internal */
  constructor(
    runtime: Runtime,
    id: number,
    /** The message. */
    readonly message: T,
    readonly metadata: Metadata,
    facts: Metadata,
  ) {
    this.#runtime = runtime
    this.#id = id
    const { topic, attempt, sequence, published, key, messageId, priority, contentType } = known(facts)
    this.topic = topic
    this.attempt = attempt
    this.sequence = sequence
    this.published = published
    this.key = key
    this.messageId = messageId
    this.priority = priority
    this.contentType = contentType
  }

  /** @internal It is delivered again once the program has let go of it. */
  watch(): this {
    forgotten.register(this, { runtime: this.#runtime, id: this.#id, topic: this.topic }, this)
    return this
  }

  get cloudEvent(): CloudEvent | undefined {
    return eventOf(this.metadata)
  }

  /** True once the program has said what became of it. */
  get settled(): boolean {
    return this.#settled
  }

  /** It was handled. */
  ack(): boolean {
    return this.#settle(ACK, 0, '')
  }

  /**
   * It is to be delivered again, after `delay` milliseconds, where the broker can and unless that was tried too often.
   * `reason` is for its dead letter.
   */
  retry(delay = 0, reason = ''): boolean {
    if (typeof delay !== 'number' || !(delay >= 0 && delay < Infinity)) {
      throw new TypeError(`the delay is ${String(delay)}: give milliseconds`)
    }
    return this.#settle(RETRY, delay, reason)
  }

  /** It is a dead letter, because of `reason`. */
  reject(reason = ''): boolean {
    return this.#settle(REJECT, 0, reason)
  }

  /** It is still being handled: its lease begins anew. */
  extend(): boolean {
    return !this.#settled && given<boolean>(this.#runtime.native.settle(this.#id, EXTEND, 0, ''))
  }

  #settle(verdict: number, delay: number, reason: string): boolean {
    if (this.#settled) return false
    const said = given<boolean>(this.#runtime.native.settle(this.#id, verdict, delay, String(reason)))
    this.#settled = true
    forgotten.unregister(this)
    return said
  }
}
