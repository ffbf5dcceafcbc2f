/** Clients of grpc-js, whose calls go to a service that is found by its name. */
import {
  type ChannelInterface,
  connectivityState,
  credentials,
  type Client as GrpcClient,
  type Metadata as GrpcMetadata,
  type InterceptingListener,
  type MethodDefinition,
  type ServiceDefinition,
  type StatusObject,
} from '@grpc/grpc-js'
import type { Client } from './client.js'
import { raw } from './codec.js'
import { WrongArgument } from './errors.js'
import { grpcMetadata, pairsOf, statusOf } from './grpc-terms.js'
import type { Metadata } from './metadata.js'
import type { CallOptions, TypedOptions } from './options.js'

// biome-ignore lint/suspicious/noExplicitAny: messages of whatever type
type Any = any
type Call = ReturnType<ChannelInterface['createCall']>
type Context = Parameters<Call['sendMessageWithContext']>[0]
type BytesOptions = TypedOptions<Uint8Array, Uint8Array>

/** The terms of every call of a channel; `timeout` is for calls without a deadline. */
export interface ChannelOptions extends Omit<CallOptions, 'codec' | 'metadata' | 'signal'> {
  /**
   * Definitions of the services that are called. A method of one of them which has no streams is called as such: it may be tried
   * again, or answered from `cached`. All others are streams both ways to the core, which looks the same on the wire.
   */
  services?: readonly ServiceDefinition[]
}

/**
 * A client of generated code whose calls go to a service that is found by its name.
 *
 *     const greeter = createClient(GreeterClient, client, 'greeter')
 */
export function createClient<T extends GrpcClient>(
  type: {
    new (address: string, credentials: Any, options?: Any): T
    service?: Any
  },
  client: Client,
  service: string,
  options: ChannelOptions & { interceptors?: Any[] } = {},
): T {
  const { interceptors, ...rest } = options
  const services = type.service === undefined ? [] : [type.service]
  const channelOverride = microChannel(client, service, { services, ...rest })
  const own = interceptors === undefined ? {} : { interceptors }
  return new type(channelOverride.getTarget(), credentials.createInsecure(), { ...own, channelOverride })
}

/** A channel to a service that is found by its name, for `channelOverride` of grpc-js's clients. */
export function microChannel(client: Client, service: string, options: ChannelOptions = {}): ChannelInterface {
  return new Channel(client, service, options)
}

class Channel implements ChannelInterface {
  readonly #methods = new Map<string, MethodDefinition<unknown, unknown>>()
  readonly #terms: BytesOptions
  #closed = false
  #calls = 0

  constructor(
    private readonly client: Client,
    private readonly service: string,
    { services = [], ...terms }: ChannelOptions,
  ) {
    for (const definition of services) {
      for (const method of Object.values(definition)) this.#methods.set(method.path, method)
    }
    this.#terms = { timeout: null, ...terms, request: raw, returns: raw, codec: 'proto' }
  }

  close(): void {
    this.#closed = true
  }

  getTarget(): string {
    return `micro:${this.service}`
  }

  getConnectivityState(): connectivityState {
    return this.#closed ? connectivityState.SHUTDOWN : connectivityState.READY
  }

  watchConnectivityState(_: connectivityState, deadline: Date | number, callback: (error?: Error) => void): void {
    // It does not change before it is closed.
    const late = () => callback(new Error('Deadline passed without connectivity state change'))
    if (Number(deadline) !== Infinity) setTimeout(late, Math.max(0, Number(deadline) - Date.now()))
  }

  getChannelzRef(): ReturnType<ChannelInterface['getChannelzRef']> {
    return { kind: 'channel', id: -1, name: this.getTarget() } as ReturnType<ChannelInterface['getChannelzRef']>
  }

  createCall(path: string, deadline: Date | number): Call {
    if (this.#closed) throw new Error('Channel has been shut down')
    const method = this.#methods.get(path)
    const controller = new AbortController()
    const options = { ...this.#terms, signal: controller.signal }
    if (Number(deadline) !== Infinity) options.timeout = Number(deadline) - Date.now()
    const open = (metadata: GrpcMetadata, request?: Buffer): Replies => {
      options.metadata = pairsOf(metadata)
      if (request === undefined)
        return this.client.bidiStream<Uint8Array, Uint8Array>(this.service, path, undefined, options)
      if (method?.responseStream)
        return this.client.serverStream<Uint8Array, Uint8Array>(this.service, path, request, options)
      return new Single(this.client.request<Uint8Array, Uint8Array>(this.service, path, request, options))
    }
    const isKnown = method !== undefined && !method.requestStream
    return new MicroCall(this.getTarget(), this.#calls++, open, isKnown, controller)
  }
}

/** The replies of a call, and what its requests are sent by. */
interface Replies {
  next(): Promise<IteratorResult<Uint8Array, undefined>>
  headers(): Promise<Metadata>
  readonly trailers: Metadata
  send?(message: Uint8Array): Promise<void>
  end(): void
}

/** The one reply of a call. */
class Single implements Replies {
  #reply: ReturnType<Client['request']>
  #trailers: Metadata | undefined
  #read = false

  constructor(reply: ReturnType<Client['request']>) {
    this.#reply = reply
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (this.#read) return { done: true, value: undefined }
    const { message, trailers } = await this.#reply
    this.#read = true
    this.#trailers = trailers
    return { done: false, value: message as Uint8Array }
  }

  async headers(): Promise<Metadata> {
    return (await this.#reply).headers
  }

  get trailers(): Metadata {
    return this.#trailers as Metadata
  }

  end(): void {}
}

class MicroCall implements Call {
  readonly #target: string
  readonly #number: number
  readonly #open: (metadata: GrpcMetadata, request?: Buffer) => Replies
  /** It has one request, and is opened with that. */
  readonly #waits: boolean
  readonly #controller: AbortController
  #metadata: GrpcMetadata | undefined
  #listener: InterceptingListener | undefined
  #replies: Replies | undefined
  #request: Buffer | undefined
  #sent: Promise<void> = Promise.resolve()
  #wanted = 0
  #wake: (() => void) | undefined
  #isOver = false

  constructor(
    target: string,
    number: number,
    open: (metadata: GrpcMetadata, request?: Buffer) => Replies,
    waits: boolean,
    controller: AbortController,
  ) {
    this.#target = target
    this.#number = number
    this.#open = open
    this.#waits = waits
    this.#controller = controller
  }

  start(metadata: GrpcMetadata, listener: InterceptingListener): void {
    this.#metadata = metadata
    this.#listener = listener
    if (!this.#waits) this.#begin()
  }

  #begin(request?: Buffer): void {
    if (this.#isOver) return
    try {
      this.#replies = this.#open(this.#metadata as GrpcMetadata, request)
    } catch (error) {
      this.#end(statusOf(error))
      return
    }
    void this.#read(this.#replies)
  }

  async #read(replies: Replies): Promise<void> {
    try {
      const headers = await replies.headers()
      if (!this.#isOver) this.#listener?.onReceiveMetadata(grpcMetadata(headers))
      for (;;) {
        // One message ahead, so that the end is told to a reader that wants no more.
        const { done, value } = await replies.next()
        if (done) break
        while (this.#wanted === 0 && !this.#isOver) {
          await new Promise<void>((wake) => {
            this.#wake = wake
          })
        }
        if (this.#isOver) return
        this.#wanted--
        this.#listener?.onReceiveMessage(Buffer.from(value.buffer, value.byteOffset, value.length))
      }
      this.#end({ code: 0, details: 'OK', metadata: grpcMetadata(replies.trailers) })
    } catch (error) {
      this.#end(statusOf(error))
    }
  }

  /** Tells how it ended, after what is under way now. */
  #end(status: StatusObject): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#wake?.()
    process.nextTick(() => this.#listener?.onReceiveStatus(status))
  }

  sendMessageWithContext({ callback }: Context, message: Buffer): void {
    if (this.#waits) {
      this.#request = message
      if (callback) process.nextTick(callback)
      return
    }
    const replies = this.#replies
    // What keeps it from being sent is what the call ends with.
    const sent = () => callback?.()
    this.#sent = this.#sent.then(() => replies?.send?.(message)).then(sent, sent)
  }

  halfClose(): void {
    if (this.#waits) this.#begin(this.#request ?? Buffer.alloc(0))
    else void this.#sent.then(() => this.#replies?.end())
  }

  startRead(): void {
    this.#wanted++
    this.#wake?.()
  }

  cancelWithStatus(code: number, details: string): void {
    this.#end({ code, details, metadata: grpcMetadata() })
    this.#controller.abort()
  }

  getPeer(): string {
    return this.#target
  }

  getCallNumber(): number {
    return this.#number
  }

  getAuthContext(): null {
    return null
  }

  setCredentials(): void {
    throw new WrongArgument(
      'credentials of a call are not taken: give metadata with `authorization`, and the client tls',
      { id: 'micro' },
    )
  }
}
