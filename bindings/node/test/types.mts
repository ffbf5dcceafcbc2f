// What compiles and what does not, for a program that is an ES module.
import {
  type Broker,
  Client,
  Code,
  type Context,
  context,
  type Delivered,
  errors,
  type Format,
  type Lent,
  Metadata,
  MicroError,
  provide,
  provideBroker,
  type Registry,
  raw,
  Service,
} from '@micro/core'
import { Fleet } from '@micro/core/testing'

interface Hello {
  name: string
}
interface Greeting {
  message: string
}

const service = new Service('greeter', { registerTtl: '30s', maxConcurrentCalls: 10, client: { retries: 1 } })
service.handle<Hello, Greeting>('Greeter.Hello', async (request, own) => {
  const left: number | undefined = own.remaining
  const signal: AbortSignal = own.signal
  return { message: `${request.name} ${left} ${signal.aborted}` }
})
// @ts-expect-error: the reply has a message
service.handle<Hello, Greeting>('Greeter.Wrong', async () => ({ text: '' }))
// @ts-expect-error: no such option
new Service('greeter', { maxConcurentCalls: 10 })
// @ts-expect-error: no such strategy
new Client({ strategy: 'fastest' })

service.serverStream<number, string>('Greeter.Many', async function* (count) {
  for (let left = count; left > 0; left--) yield `${left}`
})
service.bidiStream<Hello, Greeting>('Greeter.Chat', async function* (requests) {
  for await (const { name } of requests) yield { message: name }
})

const client = new Client()
const greeting: Greeting = await client.call<Greeting>('greeter', 'Greeter.Hello', { name: 'Ada' }, { timeout: 1000 })
const { message, trailers } = await client.request<Greeting>('greeter', 'Greeter.Hello', { name: 'Ada' })
const total: number = await client.clientStream<number, number>('greeter', 'Greeter.Sum', [1, 2])
for await (const text of client.serverStream<string>('greeter', 'Greeter.Many', 3)) text.toUpperCase()

const point: Format<{ x: number }> = { encode: ({ x }) => Uint8Array.of(x), decode: (bytes) => ({ x: bytes[0] ?? 0 }) }
const { x } = await client.call('greeter', 'Greeter.Point', { x: 1 }, { request: point, returns: point })
const bytes: Uint8Array = await client.call('greeter', 'Greeter.Bytes', new Uint8Array(), { returns: raw })
// @ts-expect-error: a point has no y
await client.call('greeter', 'Greeter.Point', { y: 1 }, { request: point })

try {
  await client.call('greeter', 'Greeter.Hello')
} catch (error) {
  if (error instanceof errors.NotFound) console.log(error.detail, error.attempts)
  if (error instanceof MicroError && error.code === Code.UNAVAILABLE) console.log(error.cause)
}

client.use(async (call, next) => {
  call.options.timeout ??= '1s'
  return await next()
})
service.subscribe<Hello>('greetings', async ({ name }, own) => {
  const at: Date = own.published
  const known: Delivered = own
  const number: number | undefined = own.sequence
  return [name, at, known, number, own.remaining]
})
service.subscribe<Hello>(
  'greetings',
  (delivery) => {
    const settled: boolean = delivery.message.name === '' ? delivery.reject('no name') : delivery.ack()
    return settled
  },
  { manual: true, queue: 'q', start: { time: new Date() }, lease: '1s' },
)
// @ts-expect-error: a message is no delivery
service.subscribe<Hello>('greetings', (message) => message.ack())
// @ts-expect-error: no such option
service.subscribe('greetings', () => undefined, { ques: 'q' })
service.useForMessages(async (own, next) => {
  if (own.attempt > 1) await next(own.message)
})
await client.publish('greetings', { name: 'Ada' }, { delay: '1s', key: 'ada', signal: new AbortController().signal })
await client.publish('points', { x: 1 }, { format: point })
// @ts-expect-error: a point has no y
await client.publish('points', { y: 1 }, { format: point })
for await (const delivery of client.subscribe('points', { format: point, queue: 'q', maxInFlight: 1 })) {
  const x: number = delivery.message.x
  if (x > 1) delivery.retry(1000, 'later')
}
await using greetings = client.subscribe<Hello>('greetings')
const greeted: string | undefined = (await greetings.next()).value?.message.name

service.use(async (own: Context, next) => (own.metadata.text('tenant') ? await next() : { message: '' }))

const registry: Registry = {
  register: () => undefined,
  deregister: () => undefined,
  get: () => [],
  list: async () => [],
  watch: async function* () {},
}
await using mine = provide('mine', registry)
const broker: Broker = {
  abilities: ['redelivers', 'ordersByKey'],
  publish: ({ topic, body, due }) => console.log(topic, body.length, due?.getTime()),
  subscribe: async function* ({ topic, start }): AsyncGenerator<Lent> {
    const at = typeof start === 'object' && 'time' in start ? start.time : undefined
    yield {
      message: { topic, body: new Uint8Array(), metadata: Metadata.none },
      settle: (verdict) => console.log(verdict.kind === 'retry' ? verdict.delay : verdict.kind),
      published: at,
    }
  },
}
await using topics = provideBroker('topics', broker)
await using fleet = new Fleet()
export const told = [
  greeted,
  greeting,
  message,
  trailers,
  total,
  x,
  bytes,
  mine.url,
  topics.url,
  fleet.client,
  context()?.caller,
]
