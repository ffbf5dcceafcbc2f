/// <reference lib="dom" />
// Types of generated code, for a program that is an ES module.
import type { MessageShape } from '@bufbuild/protobuf'
import { type ConnectRouter, createClient } from '@connectrpc/connect'
import { type Client as GrpcClient, makeGenericClientConstructor, type ServiceDefinition } from '@grpc/grpc-js'
import { Client, Service, type Stream } from '@micro/core'
import { connectRoutes, microTransport } from '@micro/core/connect'
import { addService, createClient as createGrpcClient, microChannel } from '@micro/core/grpc'
import { format, handle, typedClient } from '@micro/core/protobuf'
import {
  Greeter,
  type HelloReply,
  type HelloRequest,
  HelloRequestSchema,
} from '../../../examples/connect-es/greeter_pb.js'

const client = new Client()
const service = new Service('greeter')

const typed = typedClient(Greeter, client, 'greeter', { timeout: '1s' })
const reply: HelloReply = await typed.hello({ name: 'Ada' }, { timeout: 1000 })
const stream: Stream<never, HelloReply> = typed.again({ name: 'Ada', times: 2 })
const together: HelloReply = await typed.together([{ name: 'Ada' }])
for await (const { message } of typed.each()) message.toUpperCase()
// @ts-expect-error: a request has no such field
await typed.hello({ nam: 'Ada' })
// @ts-expect-error: the service has no such method
await typed.goodbye({ name: 'Ada' })

handle(service, Greeter, {
  hello: ({ name }, context) => ({ message: `${name} ${context.remaining}` }),
  async *again({ name, times }) {
    for (let left = times; left > 0; left--) yield { message: name }
  },
})
// @ts-expect-error: the reply has no such field
handle(service, Greeter, { hello: () => ({ text: '' }) })

const request: HelloRequest = format(HelloRequestSchema).decode(Buffer.alloc(0), 'proto')
const shape: MessageShape<typeof HelloRequestSchema> = request

const connected = createClient(
  Greeter,
  microTransport(client, 'greeter', { retries: 1, interceptors: [(next) => next] }),
)
const other: HelloReply = await connected.hello({ name: 'Ada' }, { timeoutMs: 1000 })
connectRoutes(service, (router: ConnectRouter) => router.service(Greeter, { hello: () => ({ message: '' }) }))
// @ts-expect-error: no such option
microTransport(client, 'greeter', { baseUrl: 'http://localhost' })

declare const definition: ServiceDefinition
const Generated = makeGenericClientConstructor(definition, 'Greeter')
const generated: GrpcClient = createGrpcClient(Generated, client, 'greeter', { timeout: 1000, retries: 1 })
addService(service, definition, { hello: (_: unknown, callback: (error: null) => void) => callback(null) })
// @ts-expect-error: no such option
microChannel(client, 'greeter', { 'grpc.max_receive_message_length': 1 })
export const told = [generated, reply, stream, together, shape, other]
