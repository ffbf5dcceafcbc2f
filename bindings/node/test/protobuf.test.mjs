// Clients and handlers of what protobuf-es generates.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, isMessage } from '@bufbuild/protobuf'
import { Client, errors, Service } from '@micro/core'
import { format, handle, typedClient } from '@micro/core/protobuf'
import { Greeter, HelloReplySchema, HelloRequestSchema } from '../../../examples/connect-es/greeter_pb.js'
import { fleetOf } from './world.mjs'

const handlers = {
  seen: undefined,
  hello(request) {
    this.seen = request
    return { message: `Hello, ${request.name}!` }
  },
  async *again({ name, times }) {
    for (let time = 1; time <= times; time++) yield create(HelloReplySchema, { message: `${name} ${time}` })
  },
  async together(requests) {
    let message = ''
    for await (const { name } of requests) message += name
    return { message }
  },
  async *each(requests) {
    for await (const { name } of requests) yield { message: name }
  },
}

function greeter(own = handlers) {
  const { seen: _, ...methods } = own
  return handle(new Service('greeter'), Greeter, methods)
}

test('methods of every kind are called and served with generated messages', async (t) => {
  const fleet = fleetOf(t)
  await fleet.start(greeter())
  const client = typedClient(Greeter, fleet.client, 'greeter')
  const reply = await client.hello({ name: 'Ada' }, { timeout: 5000 })
  assert(isMessage(reply, HelloReplySchema))
  assert.equal(reply.message, 'Hello, Ada!')
  const many = []
  for await (const { message } of client.again({ name: 'Ada', times: 2 })) many.push(message)
  assert.deepEqual(many, ['Ada 1', 'Ada 2'])
  assert.equal((await client.together([{ name: 'a' }, create(HelloRequestSchema, { name: 'b' })])).message, 'ab')
  const stream = client.each()
  await stream.send({ name: 'x' })
  assert.equal((await stream.next()).value.message, 'x')
  stream.end()
  assert.equal((await stream.next()).done, true)
})

test('handlers are methods of their object', async (t) => {
  const fleet = fleetOf(t)
  const own = { suffix: '?', hello: () => undefined }
  class Polite {
    suffix = '.'
    hello({ name }) {
      return { message: name + this.suffix }
    }
  }
  assert.throws(
    () => handle(new Service('greeter'), Greeter, own),
    /demo\.v1\.Greeter has no suffix: its methods are hello/,
  )
  const polite = new Polite()
  await fleet.start(handle(new Service('greeter'), Greeter, { hello: polite.hello.bind(polite) }))
  assert.equal((await typedClient(Greeter, fleet.client, 'greeter').hello({ name: 'Ada' })).message, 'Ada.')
  await assert.rejects(async () => {
    for await (const _ of typedClient(Greeter, fleet.client, 'greeter').again({})) assert.fail('it is not served')
  }, errors.Unimplemented)
})

test('JSON is spoken to callers that speak it, and fields that are not known do not matter', async (t) => {
  const service = greeter()
  service.options = { registry: 'memory://json', address: '127.0.0.1:0', environment: false, quiet: true }
  await service.start()
  t.after(() => service.stop())
  const answer = await fetch(`http://${service.address}/demo.v1.Greeter/Hello`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'Ada', unknown: 1 }),
  })
  assert.equal(answer.status, 200)
  assert.deepEqual(await answer.json(), { message: 'Hello, Ada!' })
  const client = new Client({ addresses: [service.address], environment: false })
  t.after(() => client.close())
  const inJson = typedClient(Greeter, client, 'greeter', { codec: 'json' })
  assert.equal((await inJson.hello({ name: 'Ada' })).message, 'Hello, Ada!')
})

test('what is no message of the type is refused where it is', async (t) => {
  const fleet = fleetOf(t)
  await fleet.start(greeter())
  const client = typedClient(Greeter, fleet.client, 'greeter')
  await assert.rejects(client.hello({ name: 'Ada', times: 'two' }), errors.WrongArgument)
  await assert.rejects(client.hello({ name: 'Ada' }, { codec: 'text' }), /sent as "proto" or "json"/)
  await assert.rejects(
    fleet.client.call('greeter', '/demo.v1.Greeter/Hello', Uint8Array.of(255)),
    errors.InvalidArgument,
  )
})

test('a service registers what its files say', async (t) => {
  const fleet = fleetOf(t)
  await fleet.start(greeter())
  const [{ endpoints }] = await fleet.client.lookup('greeter')
  const hello = endpoints.find(({ name }) => name === 'Greeter.Hello')
  assert.deepEqual(
    hello.request.values.map(({ name }) => name),
    ['name', 'times'],
  )
  assert.deepEqual(
    endpoints.map(({ name }) => name),
    ['Greeter.Again', 'Greeter.Each', 'Greeter.Hello', 'Greeter.Together'],
  )
})

test('a method that changes nothing is tried again', async (t) => {
  const fleet = fleetOf(t)
  let tries = 0
  const failing = () => {
    tries++
    throw new errors.Unavailable('not yet')
  }
  const service = handle(new Service('greeter'), Greeter, { hello: failing, together: failing })
  await fleet.start(service)
  const client = typedClient(Greeter, fleet.client, 'greeter', { retries: 2, backoff: 'none' })
  await assert.rejects(client.hello({ name: 'Ada' }), errors.Unavailable)
  assert.equal(tries, 3)
  tries = 0
  await assert.rejects(client.hello({ name: 'Ada' }, { idempotent: false }), errors.Unavailable)
  assert.equal(tries, 1)
})

test('a format is for calls of whatever name', async (t) => {
  const fleet = fleetOf(t)
  const service = new Service('greeter')
  const [request, response] = [format(HelloRequestSchema), format(HelloReplySchema)]
  service.handle('Greeter.Hello', ({ name }) => ({ message: name }), { request, response })
  await fleet.start(service)
  const reply = await fleet.client.call('greeter', 'Greeter.Hello', { name: 'Ada' }, { request, returns: response })
  assert.deepEqual(reply, create(HelloReplySchema, { message: 'Ada' }))
})
