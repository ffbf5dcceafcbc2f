/** A broker that a program provides by itself. */
import { encode, JSON_CODEC, raw } from './codec.js'
import type { Context } from './context.js'
import { Internal } from './errors.js'
import { BIDI_STREAM, Endpoint, UNARY } from './handler.js'
import { failed } from './logs.js'
import { Metadata } from './metadata.js'
import type { Pipe, Write } from './pipe.js'
import { ARGS, asked, type Maybe, Provided, type Serving, urlOf } from './provide.js'
import { defaultRuntime, type Runtime } from './runtime.js'

const BROKER = 0x04
const ABILITIES = {
  redelivers: 0x100,
  persists: 0x200,
  replays: 0x400,
  delays: 0x800,
  ordersByKey: 0x1000,
  expires: 0x2000,
  deduplicates: 0x4000,
  prioritizes: 0x8000,
} as const

/** What a broker may be able to do. */
export type Ability = keyof typeof ABILITIES

/** A message, as a broker keeps it. */
export interface BrokerMessage {
  readonly topic: string
  readonly body: Uint8Array
  /** What its publisher sent along. */
  readonly metadata: Metadata
  readonly contentType?: string | undefined
  readonly key?: string | undefined
  readonly id?: string | undefined
  /** 0 to 9: of messages that wait, the highest is delivered first. */
  readonly priority?: number | undefined
  /** Not to be delivered before. */
  readonly due?: Date | undefined
  /** Not to be delivered after. */
  readonly expires?: Date | undefined
}

/** What a subscriber asks of a broker. */
export interface BrokerSubscription {
  readonly topic: string
  /** Messages are shared among the subscriptions of a queue; without one, each gets all. */
  readonly queue: string | undefined
  /** Where a queue that is new begins, or a subscription without one. */
  readonly start: 'new' | 'first' | { readonly sequence: number } | { readonly time: Date }
  readonly maxInFlight: number
  readonly maxAttempts: number
  /** Milliseconds. */
  readonly lease: number
  /** Topic of messages that were delivered too often or rejected. */
  readonly deadLetters: string
}

/** What became of a message: `extend` says that it is still being handled, and its lease begins anew. */
export type Verdict =
  | { readonly kind: 'ack' | 'extend' }
  /** To be delivered again, after `delay` milliseconds. */
  | { readonly kind: 'retry'; readonly delay: number; readonly reason: string }
  /** It is a dead letter. */
  | { readonly kind: 'reject'; readonly reason: string }

/** A message that a broker delivers. */
export interface Lent {
  readonly message: BrokerMessage
  /** Told what became of it. What this throws, the consumer is told. */
  settle(verdict: Verdict): Maybe<void>
  /** How often it was delivered, this time included; 1 unless said. */
  readonly attempt?: number | undefined
  /** Its number, which grows through its topic, where the broker keeps messages. */
  readonly sequence?: number | undefined
  readonly published?: Date | undefined
}

/**
 * A broker written in JavaScript: what `provideBroker` takes. What its methods throw reaches the caller: a `MicroError` with its
 * code, anything else as `Internal`. What a message or a subscription asks for beyond its `abilities` is refused before they are
 * called. `context()` is the question that is answered: its `signal` is aborted once nothing waits for the answer.
 */
export interface Broker {
  /** What it can do. */
  readonly abilities: Iterable<Ability>
  /** Takes a message. Returns once it is as safe as the broker makes messages. */
  publish(message: BrokerMessage): Maybe<void>
  /**
   * Messages of a topic, never more than `maxInFlight` of them unsettled. The subscription stands when this has returned: so it
   * is no generator function, which begins with the first `next`. Its iterator's `return` is called when its reader has left,
   * and ends a `next` that waits; what is not settled by then is another's.
   */
  subscribe(subscription: BrokerSubscription): Maybe<AsyncIterable<Lent>>
}

interface Published {
  topic: string
  type?: string | null
  key?: string | null
  id?: string | null
  priority?: number
  due?: number | null
  expires?: number | null
}

interface Subscribed {
  topic: string
  queue?: string | null
  start: 'new' | 'first' | { sequence: number } | { time: number }
  max_in_flight: number
  max_attempts: number
  lease: number
  dead_letters?: string | null
}

interface Said {
  delivery: number
  verdict: Verdict['kind']
  delay?: number
  reason?: string
}

/** Answers what is asked of a broker. */
class BrokerServing implements Serving {
  readonly area: number
  readonly endpoints: readonly Endpoint[]
  readonly #broker: Broker
  readonly #url: string

  constructor(url: string, broker: Broker) {
    for (const method of ['publish', 'subscribe'] as const) {
      if (typeof broker?.[method] !== 'function') throw new TypeError(`it is no broker: it has no method \`${method}\``)
    }
    if (typeof broker.abilities !== 'object' || !(Symbol.iterator in broker.abilities)) {
      throw new TypeError('it is no broker: its `abilities` are no list')
    }
    const abilities = new Set(broker.abilities)
    let area = BROKER
    for (const one of abilities) {
      if (!Object.hasOwn(ABILITIES, one)) {
        throw new TypeError(`${String(one)} is no ability: there are ${Object.keys(ABILITIES).join(', ')}`)
      }
      area |= ABILITIES[one]
    }
    this.area = area
    this.#broker = broker
    this.#url = url
    this.endpoints = [
      new Endpoint(`${url} subscribe`, BIDI_STREAM, (said, context) => this.#subscribe(said, context)),
      new Endpoint(`${url} publish`, UNARY, (body, context) => this.#publish(body, context), {}, raw),
    ]
  }

  async #publish(body: Uint8Array, context: Context): Promise<Buffer> {
    const args = asked<Published>(context)
    await this.#broker.publish({
      topic: args.topic,
      body,
      metadata: new Metadata(context.metadata.pairs.filter(([name]) => name !== ARGS)),
      contentType: args.type ?? undefined,
      key: args.key ?? undefined,
      id: args.id ?? undefined,
      priority: args.priority ?? 0,
      due: timeOf(args.due),
      expires: timeOf(args.expires),
    })
    return Buffer.alloc(0)
  }

  async #subscribe(said: AsyncIterable<Said>, context: Context): Promise<AsyncIterable<Buffer>> {
    const messages = await this.#broker.subscribe(subscriptionOf(asked<Subscribed>(context)))
    if (typeof messages?.[Symbol.asyncIterator] !== 'function') {
      throw new TypeError('subscribe returned no asynchronous iterable: return one of messages')
    }
    const iterator = messages[Symbol.asyncIterator]()
    const lent = new Map<number, Lent>()
    void this.#listen(said, lent, context.pipe as Pipe)
    let number = 0
    // Nothing says that the subscription stands.
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
          const one = told.value
          if (typeof one?.settle !== 'function' || !(one.message?.body instanceof Uint8Array)) {
            throw new TypeError('subscribe gave what is no message: give `message`, with a body of bytes, and `settle`')
          }
          lent.set(++number, one)
          return { done: false as const, value: headed(head(number, one), one.message.body) }
        },
        async return() {
          await iterator.return?.()
          return { done: true as const, value: undefined }
        },
      }),
    }
  }

  /** Tells the broker what became of its messages, one after the other. */
  async #listen(said: AsyncIterable<Said>, lent: Map<number, Lent>, pipe: Pipe): Promise<void> {
    const write: Write = (message) => encode(message, JSON_CODEC, undefined, 'the answer to a verdict', Internal)
    try {
      for await (const { delivery, verdict: kind, delay = 0, reason = '' } of said) {
        const one = lent.get(delivery)
        if (kind !== 'extend') lent.delete(delivery)
        if (one === undefined) continue
        let error: string | undefined
        try {
          await one.settle(verdictOf(kind, delay, reason))
        } catch (thrown) {
          failed(`${this.#url} could not settle a message`, thrown)
          error = (thrown instanceof Error && (thrown.message || thrown.name)) || String(thrown)
        }
        if (kind !== 'extend') await pipe.send(write, headed({ settled: delivery, error }, NONE))
      }
    } catch {
      // The subscription has ended, which its iterator hears.
    }
  }
}

/**
 * Makes `host://name` the URL of a broker of the program's own, for services and clients of this process. A name has letters,
 * digits, `-`, `_` and `.`. Throws `AlreadyExists` for a name that is taken, and `TypeError` for what is no broker.
 */
export function provideBroker(name: string, broker: Broker, options: { runtime?: Runtime } = {}): Provided {
  return new Provided(name, new BrokerServing(urlOf(name), broker), options.runtime ?? defaultRuntime())
}

const NONE = Buffer.alloc(0)

function verdictOf(kind: Verdict['kind'], delay: number, reason: string): Verdict {
  if (kind === 'retry') return { kind, delay, reason }
  return kind === 'reject' ? { kind, reason } : { kind }
}

function subscriptionOf(args: Subscribed): BrokerSubscription {
  const { topic, start } = args
  return {
    topic,
    queue: args.queue ?? undefined,
    start: typeof start === 'object' && 'time' in start ? { time: new Date(start.time) } : start,
    maxInFlight: args.max_in_flight,
    maxAttempts: args.max_attempts,
    lease: args.lease,
    deadLetters: args.dead_letters ?? `${topic}.dead`,
  }
}

function timeOf(millis: number | null | undefined): Date | undefined {
  return millis === null || millis === undefined ? undefined : new Date(millis)
}

function head(delivery: number, { message, attempt, sequence, published }: Lent): object {
  const headers: Record<string, string[]> = Object.create(null)
  for (const [name, value] of message.metadata?.pairs ?? []) {
    headers[name] ??= []
    headers[name].push(typeof value === 'string' ? value : Buffer.from(value).toString('base64'))
  }
  const { contentType: type, key, id, priority } = message
  return { delivery, attempt, sequence, published: published?.getTime(), type, key, id, priority, headers }
}

/** A head in JSON behind its length, and then a body. */
function headed(head: object, body: Uint8Array): Buffer {
  const text = Buffer.from(JSON.stringify(head))
  const length = Buffer.allocUnsafe(4)
  length.writeUInt32LE(text.length)
  return Buffer.concat([length, text, body])
}
