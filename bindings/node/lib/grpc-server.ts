/** Handlers of grpc-js, served by a service. */

import { EventEmitter } from 'node:events'
import { Duplex, type DuplexOptions } from 'node:stream'
import type {
  Metadata as GrpcMetadata,
  MethodDefinition,
  ServerCredentials,
  ServiceDefinition,
  UntypedServiceImplementation,
} from '@grpc/grpc-js'
import type { Format } from './codec.js'
import type { Context } from './context.js'
import { type MicroError, Unimplemented, Unknown } from './errors.js'
import { errorOf, grpcMetadata, pairsOf } from './grpc-terms.js'
import { failed } from './logs.js'
import type { Service } from './service.js'

// biome-ignore lint/suspicious/noExplicitAny: messages of whatever type
type Any = any
type Respond = (error: unknown, value?: unknown, trailer?: GrpcMetadata) => void

/**
 * A service with the surface of grpc-js's `Server`: existing code adds its services and binds it.
 *
 *     const server = new Server(new Service('greeter'))
 *     server.addService(GreeterService, { hello: (call, callback) => callback(null, { message: 'Hello!' }) })
 */
export class Server {
  constructor(readonly service: Service) {}

  /** As `addService`. */
  addService(definition: ServiceDefinition, implementation: UntypedServiceImplementation): void {
    addService(this.service, definition, implementation)
  }

  /** Starts the service at `host:port`. Its TLS is the service's own option, so credentials are refused unless insecure. */
  bindAsync(
    address: string,
    credentials: ServerCredentials,
    callback: (error: Error | null, port: number) => void,
  ): void {
    if (credentials._isSecure()) {
      throw new TypeError(
        'credentials of a server are not taken: give the service tls, and ServerCredentials.createInsecure()',
      )
    }
    this.service.options = { ...this.service.options, address }
    this.service.start().then(
      () => callback(null, Number(this.service.address.slice(this.service.address.lastIndexOf(':') + 1))),
      (error) => callback(error, 0),
    )
  }

  /** Stops the service in order: it deregisters, and finishes running calls within its `grace`. */
  tryShutdown(callback: (error?: Error) => void): void {
    this.service.stop().then(() => callback(), callback)
  }
}

/**
 * Serves the methods of a service definition with an implementation as grpc-js has them. A method without one is not served.
 * Throws `TypeError` when there is none at all.
 */
export function addService(
  service: Service,
  definition: ServiceDefinition,
  implementation: UntypedServiceImplementation,
): Service {
  let served = 0
  for (const [name, method] of Object.entries(definition) as [string, MethodDefinition<Any, Any>][]) {
    const handler = implementation[name] ?? (method.originalName && implementation[method.originalName])
    if (typeof handler !== 'function') continue
    served++
    add(service, method, handler.bind(implementation))
  }
  if (served === 0) {
    throw new TypeError(`the implementation has none of the methods ${Object.keys(definition).join(', ')}`)
  }
  return service
}

function add(service: Service, method: MethodDefinition<Any, Any>, handler: (...given: Any[]) => unknown): void {
  const { path, requestStream, responseStream } = method
  const name = path.slice(1).replace('/', '.')
  const options = {
    request: reader(path, method.requestDeserialize),
    response: writer(path, method.responseSerialize),
  }
  if (!requestStream && !responseStream) {
    service.handle(name, (request, context) => unary(new UnaryCall(context, path, request), context, handler), options)
  } else if (!responseStream) {
    const serve = (requests: AsyncIterator<unknown>, context: Context) => {
      const call = new StreamCall(context, path, undefined, requests)
      return unary(call, context, handler, call)
    }
    service.clientStream(name, serve, options)
  } else if (!requestStream) {
    service.serverStream(name, (request, context) => streamed(new StreamCall(context, path, request), handler), options)
  } else {
    const serve = (requests: AsyncIterator<unknown>, context: Context) =>
      streamed(new StreamCall(context, path, undefined, requests), handler)
    service.bidiStream(name, serve, options)
  }
}

function reader(path: string, deserialize: (bytes: Buffer) => unknown): Format<Any> {
  return {
    encode: () => Buffer.alloc(0),
    decode(bytes, codec) {
      if (codec === 'json' || codec === 'text') throw new TypeError(`${path} reads protobuf: send that`)
      return deserialize(bytes)
    },
  }
}

function writer(path: string, serialize: (message: Any) => Buffer): Format<Any> {
  return {
    encode(message, codec) {
      if (codec === 'json' || codec === 'text') throw new TypeError(`${path} writes protobuf: ask for that`)
      return serialize(message)
    },
    decode: (bytes) => bytes,
  }
}

/** Runs a handler with a callback. */
function unary(
  call: UnaryCall | StreamCall,
  context: Context,
  handler: (...given: Any[]) => unknown,
  stream?: StreamCall,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const respond: Respond = (error, value, trailer) => {
      if (!error) {
        trail(context, pairsOf(trailer))
        resolve(value)
        return
      }
      const [meant, trailers] = errorOf(error, trailer)
      trail(context, trailers)
      reject(meant)
    }
    if (stream) stream.refuse = reject
    run(call, () => handler(call, respond), reject)
  })
}

/** Runs a handler that sends many replies. */
async function* streamed(call: StreamCall, handler: (...given: Any[]) => unknown): AsyncGenerator<unknown, void> {
  run(
    call,
    () => handler(call),
    (error) => call.refuse(error),
  )
  yield* call.replies()
}

/** Runs a handler. What it throws is not for the caller to read. */
function run(call: { path: string }, handler: () => unknown, refuse: (error: MicroError) => void): void {
  const thrown = (error: unknown) => {
    failed(`${call.path} threw`, error)
    refuse(new Unknown('Unknown error', { id: 'micro' }))
  }
  try {
    const later = handler()
    if (later instanceof Promise) later.catch(thrown)
  } catch (error) {
    thrown(error)
  }
}

function trail(context: Context, trailers: ReturnType<typeof pairsOf>): void {
  if (context.cancelled) return
  for (const [name, value] of trailers) context.setTrailer(name, value)
}

/** What every call has that a handler of grpc-js is given. */
class Surface {
  readonly metadata: GrpcMetadata
  readonly #deadline: Date | number

  constructor(
    readonly context: Context,
    readonly path: string,
    private readonly streams: boolean,
  ) {
    this.metadata = grpcMetadata(context.metadata)
    const { remaining } = context
    this.#deadline = remaining === undefined ? Infinity : new Date(Date.now() + remaining)
  }

  getDeadline(): Date | number {
    return this.#deadline
  }

  sendMetadata(metadata: GrpcMetadata): void {
    if (this.context.cancelled) return
    for (const [name, value] of pairsOf(metadata)) this.context.setHeader(name, value)
    if (this.streams) this.context.sendHeaders()
  }
}

function noRecorder(): never {
  throw new Unimplemented('metrics of a call are not recorded here: see service.stats()', { id: 'micro' })
}

/** A call with one request and one reply. */
class UnaryCall extends EventEmitter {
  cancelled = false
  readonly metadata: GrpcMetadata
  readonly #surface: Surface

  constructor(
    context: Context,
    readonly path: string,
    readonly request: unknown,
  ) {
    super()
    this.#surface = new Surface(context, path, false)
    this.metadata = this.#surface.metadata
    leave(this, context)
  }

  getPeer = () => this.#surface.context.peer ?? 'unknown'
  getDeadline = () => this.#surface.getDeadline()
  getPath = () => this.path
  getHost = () => this.#surface.context.service
  getAuthContext = () => ({})
  getMetricsRecorder = noRecorder
  sendMetadata = (metadata: GrpcMetadata) => this.#surface.sendMetadata(metadata)
}

/** A call with a stream of requests, of replies, or both. */
class StreamCall extends Duplex {
  cancelled = false
  readonly metadata: GrpcMetadata
  /** Ends the call with an error. */
  refuse: (error: MicroError) => void = (error) => this.#finish(error)
  readonly #surface: Surface
  readonly #requests: AsyncIterator<unknown> | undefined
  #unsent: { message: unknown; sent: (error?: Error | null) => void } | undefined
  #wake: (() => void) | undefined
  #isOver = false
  #failure: MicroError | undefined
  #trailer: GrpcMetadata | undefined

  constructor(
    context: Context,
    readonly path: string,
    readonly request: unknown,
    requests?: AsyncIterator<unknown>,
  ) {
    super({ objectMode: true, readable: requests !== undefined } as DuplexOptions)
    this.#requests = requests
    this.#surface = new Surface(context, path, true)
    this.metadata = this.#surface.metadata
    this.on('error', (error) => {
      const [meant, trailers] = errorOf(error)
      trail(context, trailers)
      this.refuse(meant)
    })
    this.on('close', () => this.#finish())
    leave(this, context)
  }

  getPeer = () => this.#surface.context.peer ?? 'unknown'
  getDeadline = () => this.#surface.getDeadline()
  getPath = () => this.path
  getHost = () => this.#surface.context.service
  getAuthContext = () => ({})
  getMetricsRecorder = noRecorder
  sendMetadata = (metadata: GrpcMetadata) => this.#surface.sendMetadata(metadata)

  override end(trailer?: unknown): this {
    if (typeof trailer === 'object' && trailer !== null) this.#trailer = trailer as GrpcMetadata
    return super.end()
  }

  override _read(): void {
    this.#requests?.next().then(
      ({ done, value }) => this.push(done ? null : value),
      (error) => {
        if (this.cancelled || this.#surface.context.cancelled) return
        this.refuse(error)
        this.destroy()
      },
    )
  }

  override _write(message: unknown, _: string, sent: (error?: Error | null) => void): void {
    this.#unsent = { message, sent }
    this.#wake?.()
  }

  override _final(done: () => void): void {
    trail(this.#surface.context, pairsOf(this.#trailer))
    this.#finish()
    done()
  }

  #finish(error?: MicroError): void {
    if (!this.#isOver) this.#failure = error
    this.#isOver = true
    this.#wake?.()
  }

  /** The replies that the handler writes; it hears that one is sent when the next is wanted. */
  async *replies(): AsyncGenerator<unknown, void> {
    try {
      for (;;) {
        const next = this.#unsent
        if (next) {
          this.#unsent = undefined
          yield next.message
          next.sent()
        } else if (this.#isOver) {
          if (this.#failure) throw this.#failure
          return
        } else {
          await new Promise<void>((wake) => {
            this.#wake = wake
          })
        }
      }
    } finally {
      this.destroy()
    }
  }
}

/** Tells a call that its caller no longer waits. */
function leave(call: EventEmitter & { cancelled: boolean; destroy?: () => unknown }, context: Context): void {
  const left = () => {
    call.cancelled = true
    call.emit('cancelled', 'cancelled')
    call.destroy?.()
  }
  context.signal.addEventListener('abort', left, { once: true })
}
