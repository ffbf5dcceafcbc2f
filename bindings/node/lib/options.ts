/** Options as programs write them, as the documents that the core reads. */
import type { Codec, Format } from './codec.js'
import type { CloudEvent } from './event.js'
import type { MetadataLike } from './metadata.js'

/** A duration: milliseconds, or text such as `"250ms"` or `"1.5s"`. `Infinity` is for ever. */
export type Milliseconds = number | string

interface Routing {
  /** `host:port` of nodes to call instead of asking the registry. */
  addresses?: readonly string[]
  /** `{ version: '2' }`, `{ label: ['zone', 'a'] }` or `{ endpoint: 'A.B' }`, each. */
  filters?: readonly Readonly<Record<string, unknown>>[]
  /** How a node is chosen. */
  strategy?: 'p2c' | 'random' | 'round_robin' | 'hash'
  /** Calls with equal keys go to the same node. */
  key?: string
  /** Wait, within the timeout, until the service has a node that takes connections, instead of failing at once. */
  waitForReady?: boolean
  /** Attempts after the first. */
  retries?: number
  /** What may be tried again; `on_error` is another name of `go_micro`. */
  retry?: 'safe' | 'go_micro' | 'on_error' | 'always' | 'never'
  /** How long to wait in between. */
  backoff?: 'jittered' | 'go_micro' | 'none'
  /** How long equal calls are answered with the reply, without a node; for calls with one reply. */
  cached?: Milliseconds
  /** How the request is sent. */
  compression?: 'gzip' | 'zstd' | 'none'
  /** Which headers of the call being served go on: `only`, `except`, `credentials` and `credentialsTo`. */
  forward?: 'default' | 'none' | Readonly<Record<string, unknown>>
}

/** The terms of one call. */
export interface CallOptions extends Routing {
  /** For the whole call, all attempts; the client's own unless given, `null` or `Infinity` for ever. */
  timeout?: Milliseconds | null
  /** Sent along as headers. */
  metadata?: MetadataLike
  /** Whether repeating it is harmless, whatever the endpoint says. */
  idempotent?: boolean
  /** What the messages are on the wire; as the request suggests unless set. */
  codec?: Codec
  /** Part of no call that is served, even inside of a handler. */
  detached?: boolean
  /** Cancels the call, on both sides, when it is aborted. */
  signal?: AbortSignal
}

/** The terms of one call, with the types of its messages. */
export interface TypedOptions<Out, In> extends CallOptions {
  /** How the request is written. */
  request?: Format<Out>
  /** How the reply is read. Without it, a JSON reply is what `JSON.parse` makes of it, text is text and any other is bytes. */
  returns?: Format<In>
}

/** The terms of a message. */
export interface PublishOptions {
  /** Messages of one key are delivered one after the other. */
  key?: string
  /** Not delivered before. */
  delay?: Milliseconds
  /** Delivered within it, or not at all. */
  expiresIn?: Milliseconds
  /** Published again with the same id, it is delivered once: 1 to 200 bytes of text. */
  id?: string
  /** 0 to 9: of messages that wait, the highest is delivered first. */
  priority?: number
  /** The topic of the broker to publish to, while the message says its own. */
  exchange?: string
  /** What it says of itself as an event of CloudEvents 1.0. */
  cloudEvent?: CloudEvent
  /** Takes nothing along from the call or message that is being handled. */
  detached?: boolean
  /** Sent along as headers. */
  metadata?: MetadataLike
  /** Milliseconds to wait until the broker has it: 10 000 unless given, `Infinity` for ever. */
  timeout?: number
  /** What it is on the wire; as the message suggests unless set. */
  codec?: Codec
  /** Waits no longer when it is aborted; the message may have been published nevertheless. */
  signal?: AbortSignal
}

/** The terms of a message, with its type. */
export interface TypedPublish<Out> extends PublishOptions {
  /** How it is written. */
  format?: Format<Out>
}

/** Where a queue that is new begins: a message by its number, or by its time in milliseconds since 1970. */
export type Start = 'new' | 'first' | { sequence: number } | { time: number | Date }

/** What a subscription asks of its broker. What that cannot do it refuses. */
export interface QueueOptions {
  /** Subscribers of one queue share its messages, in every process and every language; without one, each gets all. */
  queue?: string
  /** Where a queue that is new begins: with what is published from then on unless set. */
  start?: Start
  /** Messages that are delivered and not settled, 1 to 65 536: 16 unless set. With 1, one after the other. */
  maxInFlight?: number
  /** How often a message is delivered before it is a dead letter, 1 to 1000: 5 unless set. */
  maxAttempts?: number
  /** How long a message may be with a consumer that gives no sign of life, 100 ms to a day: 30 s unless set. */
  lease?: Milliseconds
  /** Topic of messages that failed too often; that of the subscription and `.dead` unless set. */
  deadLetters?: string
}

/** What a subscription asks of its broker, with the type of its messages. */
export interface TypedQueue<In> extends QueueOptions {
  /** How messages are read; without it, JSON, text or bytes, as they were published. One that cannot be read is a dead letter. */
  format?: Format<In>
}

/** What a subscriber of a service asks of its broker, and what may be known of it. */
export interface SubscriberOptions extends QueueOptions {
  /** How long a message waits after a failure. */
  backoff?: 'jittered' | 'go_micro' | 'none'
  /** The most time for one message: one that takes longer has failed. No limit unless set. */
  timeout?: Milliseconds
  /** Subscribes without telling the registry. */
  internal?: boolean
}

/** What a subscriber asks of its broker, and what may be known of it, with the type of its messages. */
export interface TypedSubscriber<In> extends SubscriberOptions {
  /** As that of a `TypedQueue`. Or the name of the type. */
  format?: Format<In> | string
}

/** What a worker asks of its broker, with the types of its messages and of its answers. */
export interface TypedTask<In, Out> extends TypedSubscriber<In> {
  /** How answers are written; without it, in the codec of the message. */
  answer?: Format<Out>
}

/** How an answer is read that is asked for. */
export interface TypedAnswer<Out> {
  /** How it is read; without it, JSON, text or bytes, as it was written. */
  format?: Format<Out>
}

/** What becomes of the runs of a job. */
export interface JobOptions {
  /** By which nodes agree: 1 to 100 letters, digits, `-` and `_`; made of the schedule unless set. */
  name?: string
  /** Once in the fleet, which is the default, or once on each node. */
  scope?: 'fleet' | 'node'
  /** What becomes of runs that no node could begin: left out unless set, made up for once, or so many of them. */
  missed?: 'skip' | 'once' | number
  /** The most time for one run. */
  timeout?: Milliseconds
  /** How often a run that fails is attempted: once unless set. */
  maxAttempts?: number
  /** How long a run waits after a failure. */
  backoff?: 'jittered' | 'go_micro' | 'none'
}

/** The same of one by a cron expression. */
export interface CronOptions extends JobOptions {
  /** Time zone of the expression, such as `Europe/Berlin`; UTC unless set. */
  zone?: string
}

/** What a client is told. */
export interface ClientOptions extends Routing {
  /** URL of a registry. */
  registry?: string
  /** URL of a broker, such as `durable:///var/lib/shop`. */
  broker?: string
  /** Sent as the service that calls. */
  name?: string
  /** Sent as go-micro's namespace; empty sends none. */
  namespace?: string
  /** URL of a network, such as `memory://name`. */
  network?: string
  /** False: variables such as `MICRO_REGISTRY` are not read; they come before options unless told so. */
  environment?: boolean
  /** How long making a connection may take. */
  dialTimeout?: Milliseconds
  /** How often connections with calls are probed. */
  keepalive?: Milliseconds
  /** How long a probed connection may be silent. */
  keepaliveTimeout?: Milliseconds
  /** How long a connection may be without calls before it is closed; `null` keeps it. */
  idleTimeout?: Milliseconds | null
  /** Connections to all nodes together. */
  maxConnections?: number
  /** Calls on each connection to a node before another one is made. */
  callsPerConnection?: number
  /** Connections to one node. */
  maxConnectionsPerNode?: number
  /** When a connection takes no more calls; it is closed once it has none. */
  maxConnectionAge?: Milliseconds
  /** Bytes. */
  maxMessageSize?: number
  /** Bytes of replies kept for `cached`. */
  maxCached?: number
  /** Bytes of replies held at once, inflated; more wait, and fail after 5 s. */
  maxBuffered?: number
  /** Operations under way at once; more wait. */
  maxInFlight?: number
  /**
   * `"system"`, or `authority` and perhaps `certificate` and `privateKey`: PEM, or `{ file: path }`, which is read again when
   * it changes. `serverName` is verified instead of the address; `policy` is `"required"`, or `"prefer"` while a fleet
   * moves to TLS.
   */
  tls?: unknown
  /** Whether repeating calls is harmless, whatever endpoints say. */
  idempotent?: boolean
  /** For the whole of a call; `null` or `Infinity` for ever. */
  timeout?: Milliseconds | null
  /** Sent with every call. */
  metadata?: Readonly<Record<string, string | readonly string[]>>
}

/** What callers may know of an endpoint. */
export interface EndpointOptions {
  /** Repeating a call is harmless, so clients may. */
  idempotent?: boolean
  /** A call changes nothing; web pages may call it with a GET. */
  readOnly?: boolean
  /** Served, but not advertised. */
  internal?: boolean
  /** Labels. */
  metadata?: Readonly<Record<string, string>>
  /** A serialized `FileDescriptorSet` in base64; `request` and `response` are then names of messages in it. */
  descriptors?: string
}

/** What callers may know of an endpoint, with the types of its messages. */
export interface TypedEndpoint<In, Out> extends EndpointOptions {
  /** How requests are read; without it, JSON, text or bytes, as the caller sent them. Or the name of the type. */
  request?: Format<In> | string
  /** How replies are written. Or the name of the type. */
  response?: Format<Out> | string
}

/** What a service is told. */
export interface ServiceOptions {
  /** Its version; `latest` unless set. */
  version?: string
  /** The node is `<name>-<id>`; random unless set. */
  id?: string
  /** Labels of the node. */
  metadata?: Readonly<Record<string, string>>
  /** Where it listens, such as `":8080"`. */
  address?: string
  /** What it registers instead. */
  advertise?: string
  /** URL of a registry. */
  registry?: string
  /** URL of a broker, such as `durable:///var/lib/shop`. */
  broker?: string
  /** URL of a network, such as `memory://name`. */
  network?: string
  /** A JSON file of settings, which come before these options. */
  settings?: string
  /** False: variables such as `MICRO_SERVER_ADDRESS` are not read. Otherwise they come before options and `settings`. */
  environment?: boolean
  /** How long the registry keeps the node without news of it; longer than the interval. 0 is for ever. */
  registerTtl?: Milliseconds
  /** How often the node is registered anew; 0 is never. */
  registerInterval?: Milliseconds
  /** True: nothing is said at the start. */
  quiet?: boolean
  /**
   * What must answer before each registration: `tcp://host:port`, or `http://host:port/path` with 200 to 299. A function is
   * given to `Service.registerCheck`.
   */
  registerCheck?: string
  /** How long a request to the registry may take; `Infinity` for ever. */
  registerTimeout?: Milliseconds
  /** How long it serves on after deregistering. */
  propagation?: Milliseconds
  /** How long running calls have after that. */
  grace?: Milliseconds
  /** `certificate`, `privateKey` and perhaps `authority`: PEM, or `{ file: path }`, which is read again when it changes. */
  tls?: Readonly<Record<string, unknown>>
  /** Options of the client inside. */
  client?: ClientOptions
  /** Calls that are handled at once; more are refused. */
  maxConcurrentCalls?: number
  /** Connections of callers. */
  maxConnections?: number
  /** Calls on one connection. */
  maxConcurrentStreams?: number
  /** Bytes. */
  maxMessageSize?: number
  /** Bytes of headers. */
  maxHeaderSize?: number
  /** Bytes of replies to one connection that have not left. */
  maxUnsentReplies?: number
  /** Bytes of requests held at once, inflated; more wait, and are refused after 5 s. */
  maxBuffered?: number
  /** Those of one connection. */
  maxBufferedPerConnection?: number
  /** How answers are sent. */
  compression?: 'gzip' | 'zstd' | 'none'
  /** Origins whose web pages may call. */
  allowOrigins?: readonly string[]
  /** How often connections are probed; `null` is never. */
  keepalive?: Milliseconds | null
  /** When callers are told to make a new connection. */
  maxConnectionAge?: Milliseconds
  /** For a TLS handshake, the first bytes, and each head that has begun. */
  handshakeTimeout?: Milliseconds
  /** For the message of a request, with a millisecond more for each of its bytes. */
  bodyTimeout?: Milliseconds
  /** How long an HTTP/1.1 connection may be idle. */
  idleTimeout?: Milliseconds
  /** `"adaptive"`, `"off"`, or `patience` and `atLeast`. */
  limiter?: unknown
}

/** Durations that have a word for no end. */
const ENDLESS = new Set(['timeout', 'keepalive'])
/** Stands for no end where there is no word for it: the most the core takes. */
const LONGEST = `${366 * 24 * 3600}s`
/** Objects whose names are the program's own. */
const FREE = new Set(['metadata', 'only', 'except', 'attributes'])

/** Options as a JSON document. Throws `TypeError` that names the option which cannot be one. */
export function document(options: object | undefined): string {
  if (options === undefined) return ''
  const plain = object(options, '')
  return Object.keys(plain).length === 0 ? '' : JSON.stringify(plain)
}

function object(options: object, within: string): Record<string, unknown> {
  const out: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue
    const key = snake(name)
    const where = within === '' ? name : `${within}.${name}`
    out[key] = FREE.has(key) ? value : plain(value, key, where)
  }
  return out
}

function plain(value: unknown, key: string, where: string): unknown {
  switch (typeof value) {
    case 'number':
      if (value === Infinity) return ENDLESS.has(key) ? 'none' : LONGEST
      if (!Number.isFinite(value)) throw new TypeError(`${where} is ${value}: give a number that is finite`)
      // Times may have fractions, and nothing else has.
      return Number.isInteger(value) ? value : `${value}ms`
    case 'string':
    case 'boolean':
      return value
    case 'object':
      if (value === null) return null
      if (Array.isArray(value)) return value.map((one, place) => plain(one, key, `${where}[${place}]`))
      if (value instanceof Date) return value.getTime()
      if (value instanceof Uint8Array) return Buffer.from(value).toString('utf8')
      return object(value, where)
  }
  throw new TypeError(`${where} is a ${typeof value}: give text, a number, a list or an object`)
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

/** A timeout in milliseconds as the native part takes it; 0 is the client's own. */
export function milliseconds(timeout: number | undefined): number {
  if (timeout === undefined) return 0
  if (typeof timeout !== 'number' || Number.isNaN(timeout)) {
    throw new TypeError(`timeout is ${String(timeout)}: give milliseconds, or Infinity to wait for ever`)
  }
  // No time left is a deadline that has passed, not none.
  return Math.max(timeout, 1e-6)
}
