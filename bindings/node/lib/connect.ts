/** Connect-ES under its own clients and routes. Needs `@connectrpc/connect` 2 and `@bufbuild/protobuf` 2.7 or newer. */
import type { DescMessage, DescMethod } from '@bufbuild/protobuf'
import {
  type ConnectRouter,
  createContextValues,
  createHandlerContext,
  createMethodImplSpec,
  createServiceImplSpec,
  type HandlerContext,
  type Interceptor,
  type MethodImplSpec,
  type StreamRequest,
  type Transport,
} from '@connectrpc/connect'
import {
  createAsyncIterable,
  invokeUnaryImplementation,
  runStreamingCall,
  runUnaryCall,
  transformInvokeImplementation,
} from '@connectrpc/connect/protocol'
import type { Client } from './client.js'
import { append, connectError, microError, pairsOf } from './connected.js'
import type { Context } from './context.js'
import type { Metadata } from './metadata.js'
import type { CallOptions, TypedOptions } from './options.js'
import { addMethod, pathOf, repeats, untyped } from './protobuf.js'
import type { Service } from './service.js'

/** The terms of every call of a transport. */
export interface TransportOptions extends Omit<CallOptions, 'codec' | 'metadata' | 'signal' | 'timeout'> {
  /** Connect's interceptors, the last one innermost. */
  interceptors?: Interceptor[]
  /** Milliseconds of calls that say no `timeoutMs`; such calls wait for ever unless it is given. */
  defaultTimeoutMs?: number
  /** What messages are on the wire; protobuf unless given. */
  codec?: 'proto' | 'json'
}

// biome-ignore lint/suspicious/noExplicitAny: messages of whatever type
type AnyOptions = TypedOptions<any, any>

/**
 * A transport of Connect's clients to a service that is found by its name.
 *
 *     const greeter = createClient(Greeter, microTransport(client, 'greeter'))
 */
export function microTransport(client: Client, service: string, options: TransportOptions = {}): Transport {
  const { interceptors = [], defaultTimeoutMs, ...terms } = options
  const limit = (timeoutMs: number | undefined): { timeoutMs?: number } => {
    const found = timeoutMs === undefined ? defaultTimeoutMs : timeoutMs
    // Connect has it that zero is no limit.
    return found === undefined || found <= 0 ? {} : { timeoutMs: found }
  }
  const termsOf = (
    method: DescMethod,
    header: Headers,
    signal: AbortSignal,
    timeoutMs: number | undefined,
  ): AnyOptions => ({
    ...repeats(method),
    ...terms,
    metadata: pairsOf(header),
    signal,
    timeout: timeoutMs ?? null,
    request: untyped(method.input),
    returns: untyped(method.output),
  })
  return {
    async unary(method, signal, timeoutMs, header, message, contextValues) {
      const time = limit(timeoutMs)
      return await runUnaryCall({
        interceptors,
        ...(signal && { signal }),
        ...time,
        req: { stream: false, message, method, ...requested(service, method, header, contextValues) },
        next: async (request) => {
          const own = termsOf(method, request.header, request.signal, time.timeoutMs)
          try {
            const reply = await client.request(service, pathOf(method), request.message, own)
            return {
              stream: false,
              service: method.parent,
              method,
              header: append(new Headers(), reply.headers),
              trailer: append(new Headers(), reply.trailers),
              message: reply.message,
            }
          } catch (error) {
            throw connectError(error)
          }
        },
      })
    },
    async stream(method, signal, timeoutMs, header, message, contextValues) {
      const time = limit(timeoutMs)
      return await runStreamingCall({
        interceptors,
        ...(signal && { signal }),
        ...time,
        req: { stream: true, message, method, ...requested(service, method, header, contextValues) },
        next: async (request) => {
          const own = termsOf(method, request.header, request.signal, time.timeoutMs)
          const trailer = new Headers()
          try {
            const replies = await opened(client, service, request, own)
            return {
              stream: true,
              service: method.parent,
              method,
              header: append(new Headers(), await replies.headers()),
              trailer,
              message: read(replies, trailer),
            }
          } catch (error) {
            throw connectError(error)
          }
        },
      })
    },
  }
}

function requested(
  service: string,
  method: DescMethod,
  header: Parameters<Transport['unary']>[3],
  contextValues: StreamRequest['contextValues'] | undefined,
) {
  return {
    service: method.parent,
    requestMethod: 'POST',
    url: `micro://${service}${pathOf(method)}`,
    header: new Headers(header),
    contextValues: contextValues ?? createContextValues(),
  }
}

/** The replies of a call, one or many. */
interface Replies extends AsyncIterable<unknown> {
  headers(): Promise<Metadata>
  readonly trailers: Metadata
}

async function opened(client: Client, service: string, request: StreamRequest, options: AnyOptions): Promise<Replies> {
  const { method, message } = request
  const path = pathOf(method)
  switch (method.methodKind) {
    case 'server_streaming':
      return client.serverStream(service, path, await only(message), options)
    case 'bidi_streaming':
      return client.bidiStream(service, path, message, options)
    case 'client_streaming': {
      const stream = client.clientStream(service, path, message, options)
      return {
        headers: () => stream.headers(),
        get trailers() {
          return stream.trailers
        },
        async *[Symbol.asyncIterator]() {
          yield await stream
        },
      }
    }
  }
}

async function only(messages: AsyncIterable<unknown>): Promise<unknown> {
  for await (const message of messages) return message
  throw new TypeError('a stream of replies was asked for without a request')
}

async function* read<T>(replies: Replies, trailer: Headers): AsyncGenerator<T, void> {
  try {
    for await (const reply of replies) yield reply as T
  } catch (error) {
    throw connectError(error)
  }
  append(trailer, replies.trailers)
}

/** What all routes of a service have in common. */
export interface RouteOptions {
  /** Connect's interceptors of handlers, the last one innermost. */
  interceptors?: Interceptor[]
}

/**
 * Serves routes of Connect with a service: `routes` is what Connect's adapters are given. Their clients reach it by its address
 * too, over Connect's protocol, gRPC and gRPC-web. Of the options that routes have, `interceptors` counts.
 *
 *     connectRoutes(service, (router) => router.service(Greeter, { hello: ({ name }) => ({ message: `Hello, ${name}!` }) }))
 *
 * A method that has no implementation is not served.
 */
export function connectRoutes(
  service: Service,
  routes: (router: ConnectRouter) => unknown,
  options: RouteOptions = {},
): Service {
  const { interceptors = [] } = options
  const router: ConnectRouter = {
    handlers: [],
    service(desc, implementation, own) {
      const { methods } = createServiceImplSpec(desc, implementation)
      for (const { localName } of desc.methods) {
        const spec = methods[localName]
        // biome-ignore lint/suspicious/noExplicitAny: by its name
        if (spec && typeof (implementation as any)[localName] === 'function') {
          add(service, spec, own?.interceptors ?? interceptors)
        }
      }
      return router
    },
    rpc(method, implementation, own) {
      add(service, createMethodImplSpec(method, implementation), own?.interceptors ?? interceptors)
      return router
    },
  }
  routes(router)
  return service
}

function add(service: Service, spec: MethodImplSpec, interceptors: Interceptor[]): void {
  if (spec.kind === 'unary') {
    addMethod(service, spec.method, (request, context) =>
      within(context, spec, (own) => invokeUnaryImplementation(spec, own, request, interceptors)),
    )
    return
  }
  const invoke = (request: unknown, own: HandlerContext) =>
    transformInvokeImplementation<DescMessage, DescMessage>(
      spec,
      own,
      interceptors,
    )(requestsOf(spec, request) as AsyncIterable<never>)
  if (spec.kind === 'client_streaming') {
    addMethod(service, spec.method, (requests, context) =>
      within(context, spec, async (own) => await only(invoke(requests, own))),
    )
    return
  }
  addMethod(service, spec.method, (request, context) => streamed(context, spec, (own) => invoke(request, own)))
}

function requestsOf(spec: MethodImplSpec, request: unknown): AsyncIterable<unknown> {
  return spec.kind === 'server_streaming' ? createAsyncIterable([request]) : (request as AsyncIterable<unknown>)
}

type Own = ReturnType<typeof createHandlerContext>

function contextOf(context: Context, { method }: MethodImplSpec): Own {
  const timeoutMs = context.remaining
  return createHandlerContext({
    service: method.parent,
    method,
    protocolName: 'grpc',
    requestMethod: 'POST',
    url: `micro://${context.service}${pathOf(method)}`,
    ...(timeoutMs !== undefined && { timeoutMs }),
    requestSignal: context.signal,
    requestHeader: append(new Headers(), context.metadata),
  })
}

/** Runs what gives one reply, and sends along what it leaves in its context. */
async function within<T>(context: Context, spec: MethodImplSpec, run: (own: Own) => Promise<T>): Promise<T> {
  const own = contextOf(context, spec)
  try {
    const reply = await run(own)
    sendHeaders(context, own)
    own.abort()
    return reply
  } catch (error) {
    throw ended(context, own, error)
  } finally {
    sendTrailers(context, own)
  }
}

/** The same for what gives many. Headers leave with the first. */
async function* streamed<T>(context: Context, spec: MethodImplSpec, run: (own: Own) => AsyncIterable<T>) {
  const own = contextOf(context, spec)
  let sent = false
  try {
    for await (const reply of run(own)) {
      if (!sent) sendHeaders(context, own)
      sent = true
      yield reply
    }
    if (!sent) sendHeaders(context, own)
  } catch (error) {
    throw ended(context, own, error)
  } finally {
    own.abort()
    if (!context.cancelled) sendTrailers(context, own)
  }
}

function sendHeaders(context: Context, own: Own): void {
  if (context.cancelled) return
  for (const [name, value] of pairsOf(own.responseHeader)) context.setHeader(name, value)
}

function sendTrailers(context: Context, own: Own): void {
  for (const [name, value] of pairsOf(own.responseTrailer)) context.setTrailer(name, value)
}

/** What the caller is told of what a handler threw, with what came along. */
function ended(context: Context, own: Own, error: unknown): unknown {
  own.abort(error)
  const [meant, metadata] = microError(error)
  if (!context.cancelled) for (const [name, value] of pairsOf(metadata)) context.setTrailer(name, value)
  return meant
}
