/** What protobuf-es generates, as typed clients and handlers. Needs `@bufbuild/protobuf` 2.7 or newer. */
import {
  create,
  type DescFile,
  type DescMessage,
  type DescMethod,
  type DescMethodBiDiStreaming,
  type DescMethodClientStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescService,
  fromBinary,
  fromJsonString,
  type MessageInitShape,
  type MessageShape,
  toBinary,
  toJsonString,
} from '@bufbuild/protobuf'
import {
  FileDescriptorSetSchema,
  type MethodOptions_IdempotencyLevel as IdempotencyLevel,
  MethodOptions_IdempotencyLevel,
} from '@bufbuild/protobuf/wkt'
import type { Client } from './client.js'
import type { Codec, Format } from './codec.js'
import type { Context } from './context.js'
import type { AnyHandler } from './handler.js'
import type { CallOptions, EndpointOptions } from './options.js'
import type { Service } from './service.js'
import type { ClientStream, Stream } from './streams.js'

type Given<T> = Iterable<T> | AsyncIterable<T>

/** A function for each method of a service: its name in camel case, its messages as they were generated. */
export type TypedClient<Desc extends DescService> = {
  [P in keyof Desc['method']]: Called<Desc['method'][P]>
}

type Called<M extends DescMethod> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageInitShape<I>, options?: CallOptions) => Stream<never, MessageShape<O>>
      : M extends DescMethodClientStreaming<infer I, infer O>
        ? (
            requests?: Given<MessageInitShape<I>>,
            options?: CallOptions,
          ) => ClientStream<MessageInitShape<I>, MessageShape<O>>
        : M extends DescMethodBiDiStreaming<infer I, infer O>
          ? (
              requests?: Given<MessageInitShape<I>>,
              options?: CallOptions,
            ) => Stream<MessageInitShape<I>, MessageShape<O>>
          : never

/** A handler for each method of a service that it serves. */
export type TypedHandlers<Desc extends DescService> = {
  [P in keyof Desc['method']]?: Handled<Desc['method'][P]>
}

type Handled<M extends DescMethod> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageShape<I>, context: Context) => MessageInitShape<O> | Promise<MessageInitShape<O>>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageShape<I>, context: Context) => Given<MessageInitShape<O>>
      : M extends DescMethodClientStreaming<infer I, infer O>
        ? (
            requests: AsyncIterableIterator<MessageShape<I>>,
            context: Context,
          ) => MessageInitShape<O> | Promise<MessageInitShape<O>>
        : M extends DescMethodBiDiStreaming<infer I, infer O>
          ? (requests: AsyncIterableIterator<MessageShape<I>>, context: Context) => Given<MessageInitShape<O>>
          : never

/** How messages of a type are written and read: protobuf, or JSON where the call speaks it. */
export interface MessageFormat<T extends DescMessage> {
  readonly typeName: string
  encode(message: MessageInitShape<T>, codec: Codec): Uint8Array | string
  decode(bytes: Buffer, codec: Codec): MessageShape<T>
}

const formats = new WeakMap<DescMessage, MessageFormat<DescMessage>>()

/** The `Format` of a message type, for calls and endpoints of whatever name. */
export function format<T extends DescMessage>(type: T): MessageFormat<T> {
  let found = formats.get(type)
  if (found === undefined) {
    found = made(type)
    formats.set(type, found)
  }
  return found as unknown as MessageFormat<T>
}

function made(type: DescMessage): MessageFormat<DescMessage> {
  return {
    typeName: type.typeName,
    encode(given, codec) {
      const message = create(type, given)
      if (codec === 'json') return toJsonString(type, message)
      spoken(type, codec)
      return toBinary(type, message)
    },
    decode(bytes, codec) {
      if (codec === 'json') return fromJsonString(type, bytes.toString('utf8'), { ignoreUnknownFields: true })
      spoken(type, codec)
      // Fields of bytes are parts of it, and users expect no `Buffer` there.
      return fromBinary(type, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length))
    },
  }
}

function spoken(type: DescMessage, codec: Codec): void {
  if (codec !== 'proto' && codec !== 'bytes') throw new TypeError(`${type.typeName} is sent as "proto" or "json"`)
}

/** @internal A format with types that are known to its user alone. */
// biome-ignore lint/suspicious/noExplicitAny: as above
export function untyped(type: DescMessage): Format<any> {
  return format(type)
}

/** @internal Where a method is called. */
export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`
}

/** @internal Whether repeating a method is harmless; nothing where its file does not say so. */
export function repeats(method: DescMethod): { idempotent?: true } {
  return level(method) === MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN ? {} : { idempotent: true }
}

function level(method: DescMethod): IdempotencyLevel {
  return method.idempotency
}

/**
 * A client of a service, with a function for each of its methods.
 *
 *     const greeter = typedClient(Greeter, client, 'greeter')
 *     const { message } = await greeter.hello({ name: 'Ada' }, { timeout: 2000 })
 *
 * `options` are the terms of every call, which come after those given to the call.
 */
export function typedClient<Desc extends DescService>(
  desc: Desc,
  client: Client,
  service: string,
  options: CallOptions = {},
): TypedClient<Desc> {
  const out: Record<string, unknown> = {}
  for (const method of desc.methods) out[method.localName] = caller(method, client, service, options)
  return out as TypedClient<Desc>
}

function caller(method: DescMethod, client: Client, service: string, terms: CallOptions): unknown {
  const path = pathOf(method)
  const own = { ...repeats(method), ...terms, request: untyped(method.input), returns: untyped(method.output) }
  const all = (options?: CallOptions) => (options === undefined ? own : { ...own, ...options })
  switch (method.methodKind) {
    case 'unary':
      return (request: unknown, options?: CallOptions) => client.call(service, path, request, all(options))
    case 'server_streaming':
      return (request: unknown, options?: CallOptions) => client.serverStream(service, path, request, all(options))
    case 'client_streaming':
      return (requests?: Given<unknown>, options?: CallOptions) =>
        client.clientStream(service, path, requests, all(options))
    case 'bidi_streaming':
      return (requests?: Given<unknown>, options?: CallOptions) =>
        client.bidiStream(service, path, requests, all(options))
  }
}

/**
 * Serves methods with functions of generated messages. A method that has none is not served.
 *
 *     handle(service, Greeter, { hello: ({ name }) => ({ message: `Hello, ${name}!` }) })
 *
 * Throws `TypeError` for a handler of no method.
 */
export function handle<Desc extends DescService>(service: Service, desc: Desc, handlers: TypedHandlers<Desc>): Service {
  const known = desc.methods.map(({ localName }) => localName)
  const unknown = Object.keys(handlers).filter((name) => !known.includes(name))
  if (unknown.length > 0) {
    throw new TypeError(`${desc.typeName} has no ${unknown.join(', ')}: its methods are ${known.join(', ')}`)
  }
  for (const method of desc.methods) {
    // biome-ignore lint/suspicious/noExplicitAny: checked where it was given
    const handler = (handlers as any)[method.localName]
    if (handler !== undefined) addMethod(service, method, handler.bind(handlers))
  }
  return service
}

// biome-ignore lint/suspicious/noExplicitAny: any request
type Streaming = (request: any, context: Context) => AsyncIterable<unknown>

/** @internal Adds an endpoint whose messages are those of a method. */
export function addMethod(service: Service, method: DescMethod, handler: AnyHandler): void {
  const name = `${method.parent.typeName}.${method.name}`
  const options = { ...described(method), request: untyped(method.input), response: untyped(method.output) }
  switch (method.methodKind) {
    case 'unary':
      service.handle(name, handler, options)
      return
    case 'server_streaming':
      service.serverStream(name, handler as Streaming, options)
      return
    case 'client_streaming':
      service.clientStream(name, handler, options)
      return
    case 'bidi_streaming':
      service.bidiStream(name, handler as Streaming, options)
      return
  }
}

/** What callers may know of a method. */
function described(method: DescMethod): EndpointOptions {
  const readOnly = level(method) === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS
  return { descriptors: descriptors(method.parent.file), ...repeats(method), ...(readOnly ? { readOnly } : {}) }
}

const written = new WeakMap<DescFile, string>()

/** A file and those it needs, as a descriptor set in base64. */
function descriptors(file: DescFile): string {
  let found = written.get(file)
  if (found === undefined) {
    const files = new Set<DescFile>()
    const add = (one: DescFile) => {
      if (files.has(one)) return
      one.dependencies.forEach(add)
      files.add(one)
    }
    add(file)
    const set = create(FileDescriptorSetSchema, { file: Array.from(files, ({ proto }) => proto) })
    found = Buffer.from(toBinary(FileDescriptorSetSchema, set)).toString('base64')
    written.set(file, found)
  }
  return found
}
