// grpc-js above this package: its clients and its handlers, each with ours and with its own on the other side.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import grpc from '@grpc/grpc-js'
import { Client, errors, Service } from '@micro/core'
import { addService, createClient, microChannel, Server } from '@micro/core/grpc'
import { Greeter } from '../../../examples/grpc-js/greeter.mjs'
import { fleetOf, promised } from './world.mjs'

/** A `google.rpc.Status` with code 9, message `no` and a detail of type `t/x` whose value is one byte. */
const DETAILS = Buffer.from([8, 9, 18, 2, 110, 111, 26, 8, 10, 3, 116, 47, 120, 18, 1, 7])

function metadata(pairs) {
  const out = new grpc.Metadata()
  for (const [name, value] of Object.entries(pairs)) out.add(name, value)
  return out
}

/** Handlers that do everything grpc-js knows; `seen` is told what else happens. */
const handlersOf = (seen = {}) => ({
  hello(call, callback) {
    call.sendMetadata(
      metadata({ 'x-tenant': call.metadata.get('x-tenant')[0] ?? 'none', 'x-bytes-bin': Buffer.of(0, 255) }),
    )
    const { name } = call.request
    if (name === 'detail') {
      const more = metadata({ 'x-why': 'because', 'grpc-status-details-bin': DETAILS })
      callback({ code: grpc.status.FAILED_PRECONDITION, details: 'no', metadata: more })
    } else if (name === 'throw') throw new Error('the password is hunter2')
    else if (name === 'wait') {
      call.on('cancelled', () => seen.left?.resolve(call.cancelled))
      seen.waits?.resolve(call.getDeadline())
    } else callback(null, { message: `Hello, ${name}!` }, metadata({ 'x-end': 'over' }))
  },
  again(call) {
    call.sendMetadata(metadata({ 'x-times': String(call.request.times) }))
    if (call.request.name === 'wait') {
      call.on('cancelled', () => seen.left?.resolve(call.cancelled))
      call.write({ message: 'first' })
      return
    }
    for (let time = 1; time <= call.request.times; time++) call.write({ message: `${call.request.name} ${time}` })
    if (call.request.name === 'fail') {
      call.emit('error', {
        code: grpc.status.RESOURCE_EXHAUSTED,
        details: 'enough',
        metadata: metadata({ 'x-why': 'because' }),
      })
    } else call.end(metadata({ 'x-end': 'over' }))
  },
  together(call, callback) {
    const names = []
    call.on('data', ({ name }) => names.push(name))
    call.on('end', () => callback(null, { message: names.join('+') }, metadata({ 'x-end': 'over' })))
  },
  each(call) {
    call.on('data', ({ name }) => call.write({ message: `Hello, ${name}!` }))
    call.on('end', () => call.end())
  },
})

async function ours(t, seen) {
  const service = new Service('greeter', { registry: 'memory://grpc', environment: false, quiet: true })
  const server = new Server(service)
  server.addService(Greeter.service, handlersOf(seen))
  const port = await bound(server)
  t.after(() => service.stop())
  assert.equal(service.address, `127.0.0.1:${port}`)
  return service.address
}

async function theirs(t, seen) {
  const server = new grpc.Server()
  server.addService(Greeter.service, handlersOf(seen))
  t.after(() => server.forceShutdown())
  return `127.0.0.1:${await bound(server)}`
}

function bound(server) {
  return new Promise((resolve, reject) => {
    const credentials = grpc.ServerCredentials.createInsecure()
    server.bindAsync('127.0.0.1:0', credentials, (error, port) => (error ? reject(error) : resolve(port)))
  })
}

function clientOf(t, address) {
  const client = new Client({ addresses: [address], environment: false })
  t.after(() => client.close())
  return client
}

const servers = { ours, theirs }
const clients = {
  ours: (t, address) => createClient(Greeter, clientOf(t, address), 'greeter'),
  'our channel': (t, address) => {
    const channelOverride = microChannel(clientOf(t, address), 'greeter')
    return new Greeter('unused', grpc.credentials.createInsecure(), { channelOverride })
  },
  theirs: (t, address) => {
    const client = new Greeter(address, grpc.credentials.createInsecure())
    t.after(() => client.close())
    return client
  },
}
const pairs = Object.keys(clients).flatMap((client) =>
  Object.keys(servers)
    .filter((server) => client !== 'theirs' || server === 'ours')
    .map((server) => [client, server]),
)

/** Makes a call with one reply, and gives all that is told of it. */
function one(begin) {
  return new Promise((resolve) => {
    const told = {}
    const call = begin((error, reply) => {
      told.error = error
      told.reply = reply
    })
    call.on('metadata', (headers) => (told.headers = headers))
    call.on('status', (status) => setImmediate(() => resolve({ ...told, status })))
  })
}

/** Reads a stream to its end, and gives all that is told of it. */
async function many(call) {
  const told = { messages: [] }
  call.on('metadata', (headers) => (told.headers = headers))
  const status = once(call, 'status')
  try {
    for await (const { message } of call) told.messages.push(message)
  } catch (error) {
    told.error = error
  }
  return { ...told, status: (await status.catch(() => [undefined]))[0] }
}

for (const [client, server] of pairs) {
  const meet = async (t, seen) => clients[client](t, await servers[server](t, seen))

  test(`grpc-js, ${client} calls ${server}: calls of every kind, with metadata`, async (t) => {
    const greeter = await meet(t)
    const hello = await one((done) => greeter.hello({ name: 'Ada' }, metadata({ 'x-tenant': 'blue' }), done))
    assert.equal(hello.error, null)
    assert.equal(hello.reply.message, 'Hello, Ada!')
    assert.deepEqual(hello.headers.get('x-tenant'), ['blue'])
    assert.deepEqual(hello.headers.get('x-bytes-bin'), [Buffer.of(0, 255)])
    assert.deepEqual(hello.status.metadata.get('x-end'), ['over'])
    assert.equal(hello.status.code, grpc.status.OK)

    const again = await many(greeter.again({ name: 'Ada', times: 100 }))
    assert.equal(again.messages.length, 100)
    assert.deepEqual([again.messages[0], again.messages[99]], ['Ada 1', 'Ada 100'])
    assert.deepEqual(again.headers.get('x-times'), ['100'])
    assert.deepEqual(again.status.metadata.get('x-end'), ['over'])

    const together = await one((done) => {
      const call = greeter.together(done)
      for (const name of ['a', 'b', 'c']) call.write({ name })
      call.end()
      return call
    })
    assert.equal(together.reply.message, 'a+b+c')
    assert.deepEqual(together.status.metadata.get('x-end'), ['over'])

    const each = greeter.each()
    const heard = []
    for (const name of ['a', 'b', 'c']) {
      each.write({ name })
      heard.push((await once(each, 'data'))[0].message)
    }
    each.end()
    await once(each, 'end')
    assert.deepEqual(heard, ['Hello, a!', 'Hello, b!', 'Hello, c!'])
  })

  test(`grpc-js, ${client} calls ${server}: errors with metadata and details`, async (t) => {
    const greeter = await meet(t)
    const { error } = await one((done) => greeter.hello({ name: 'detail' }, done))
    assert.deepEqual([error.code, error.details], [grpc.status.FAILED_PRECONDITION, 'no'])
    assert.deepEqual(error.metadata.get('x-why'), ['because'])
    assert.deepEqual(error.metadata.get('grpc-status-details-bin'), [DETAILS])
    const late = await many(greeter.again({ name: 'fail', times: 2 }))
    assert.deepEqual(late.messages, ['fail 1', 'fail 2'])
    assert.deepEqual([late.error.code, late.error.details], [grpc.status.RESOURCE_EXHAUSTED, 'enough'])
    assert.deepEqual(late.error.metadata.get('x-why'), ['because'])
    const thrown = await one((done) => greeter.hello({ name: 'throw' }, done))
    assert.deepEqual([thrown.error.code, thrown.error.details], [grpc.status.UNKNOWN, 'Unknown error'])
  })

  test(`grpc-js, ${client} calls ${server}: deadlines and cancellations reach the handler`, async (t) => {
    const seen = { waits: promised(), left: promised() }
    const greeter = await meet(t, seen)
    const deadline = new Date(Date.now() + 400)
    const { error } = await one((done) => greeter.hello({ name: 'wait' }, { deadline }, done))
    assert.equal(error.code, grpc.status.DEADLINE_EXCEEDED)
    assert(Math.abs(Number(await seen.waits.promise) - Number(deadline)) < 400)
    assert.equal(await seen.left.promise, true)

    seen.left = promised()
    const call = greeter.again({ name: 'wait' })
    assert.equal((await once(call, 'data'))[0].message, 'first')
    call.cancel()
    const [failure] = await once(call, 'error')
    assert.equal(failure.code, grpc.status.CANCELLED)
    assert.equal(await seen.left.promise, true)
  })
}

test('a writer of grpc-js is held up by a reader that is slow', async (t) => {
  const service = new Service('greeter')
  let written = 0
  addService(service, Greeter.service, {
    async again(call) {
      for (; written < 2000 && !call.cancelled; written++) {
        if (!call.write({ message: 'x'.repeat(10_000) })) await Promise.race([once(call, 'drain'), once(call, 'close')])
      }
      call.end()
    },
  })
  const fleet = fleetOf(t)
  await fleet.start(service)
  const call = createClient(Greeter, fleet.client, 'greeter').again({})
  await once(call, 'readable')
  let before = -1
  while (before !== written) {
    before = written
    await new Promise((later) => setTimeout(later, 300))
  }
  assert(written < 1500, `${written} messages are under way`)
  let heard = 0
  for await (const _ of call) heard++
  assert.equal(heard, 2000)
})

test('a method that has no streams is tried again, if its definition is known', async (t) => {
  const fleet = fleetOf(t)
  let tries = 0
  const service = new Service('greeter')
  addService(service, Greeter.service, {
    hello(_, callback) {
      tries++
      callback({ code: grpc.status.UNAVAILABLE, details: 'not yet' })
    },
  })
  await fleet.start(service)
  const greeter = createClient(Greeter, fleet.client, 'greeter', { retries: 2, backoff: 'none', idempotent: true })
  const { error } = await one((done) => greeter.hello({ name: 'Ada' }, done))
  assert.equal(error.code, grpc.status.UNAVAILABLE)
  assert.equal(tries, 3)
})

test('what cannot be is refused', async (t) => {
  const service = new Service('greeter')
  assert.throws(() => addService(service, Greeter.service, { goodbye() {} }), /none of the methods/)
  const secure = grpc.ServerCredentials.createSsl(null, [])
  assert.throws(() => new Server(service).bindAsync(':0', secure, () => {}), /credentials of a server are not taken/)
  const greeter = createClient(Greeter, fleetOf(t).client, 'greeter')
  const credentials = grpc.credentials.createFromMetadataGenerator((_, done) => done(null, new grpc.Metadata()))
  assert.throws(() => greeter.hello({}, { credentials }, () => {}), errors.WrongArgument)
  const { error } = await one((done) => greeter.hello({}, done))
  assert.equal(error.code, grpc.status.UNAVAILABLE)
  greeter.close()
  assert.throws(() => greeter.hello({}, () => {}), /shut down/)
})
