// Connect-ES above this package: its clients and its routes, each with ours and with its own on the other side.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http2'
import { test } from 'node:test'
import { create, fromBinary } from '@bufbuild/protobuf'
import { StringValueSchema } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError, createClient, createContextKey, createContextValues } from '@connectrpc/connect'
import {
  connectNodeAdapter,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from '@connectrpc/connect-node'
import { Client, context, errors, MicroError, Service } from '@micro/core'
import { connectRoutes, microTransport } from '@micro/core/connect'
import { Greeter } from '../../../examples/connect-es/greeter_pb.js'
import { fleetOf, promised } from './world.mjs'

/** Routes that show everything a handler of Connect can do; `seen` is told what else happens. */
const routesOf =
  (seen = {}) =>
  (router) =>
    router.service(Greeter, {
      async hello({ name }, context) {
        context.responseHeader.set('x-tenant', context.requestHeader.get('x-tenant') ?? 'none')
        context.responseHeader.set('x-bytes-bin', context.requestHeader.get('x-bytes-bin') ?? '')
        context.responseTrailer.set('x-end', 'over')
        if (name === 'wait') {
          seen.waits?.resolve(context.timeoutMs())
          await new Promise((over) => context.signal.addEventListener('abort', over, { once: true }))
          seen.left?.resolve(context.signal.reason)
          throw context.signal.reason
        }
        if (name === 'detail') {
          const detail = { desc: StringValueSchema, value: { value: 'why' } }
          throw new ConnectError('not this one', Code.FailedPrecondition, { 'x-why': 'because' }, [detail])
        }
        if (name === 'secret') throw new Error('the password is hunter2')
        return { message: `Hello, ${name}!` }
      },
      async *again({ name, times }, context) {
        context.responseHeader.set('x-times', String(times))
        context.responseTrailer.set('x-end', 'over')
        try {
          for (let time = 1; time <= times; time++) yield { message: `${name} ${time}` }
          if (name === 'fail') throw new ConnectError('enough', Code.ResourceExhausted, { 'x-why': 'because' })
        } finally {
          seen.ended?.resolve()
        }
      },
      async together(requests, context) {
        context.responseHeader.set('x-many', 'yes')
        context.responseTrailer.set('x-end', 'over')
        const names = []
        for await (const { name } of requests) names.push(name)
        return { message: names.join('+') }
      },
      async *each(requests) {
        for await (const { name } of requests) yield { message: `Hello, ${name}!` }
      },
    })

/** A service with these routes, and its address. */
async function ours(t, routes = routesOf(), options) {
  const service = connectRoutes(
    new Service('greeter', { registry: 'memory://connect', address: '127.0.0.1:0', environment: false, quiet: true }),
    routes,
    options,
  )
  await service.start()
  t.after(() => service.stop())
  return service.address
}

/** A server of Connect with these routes, and its address. */
async function theirs(t, routes = routesOf()) {
  const sessions = new Set()
  const server = createServer(connectNodeAdapter({ routes })).listen(0, '127.0.0.1')
  server.on('session', (session) => sessions.add(session))
  await once(server, 'listening')
  t.after(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  return `127.0.0.1:${server.address().port}`
}

function micro(t, address, options) {
  const client = new Client({ addresses: [address], environment: false })
  t.after(() => client.close())
  return microTransport(client, 'greeter', options)
}

const served = { ours, theirs }
const transports = {
  ours: micro,
  'ours in JSON': (t, address) => micro(t, address, { codec: 'json' }),
  connect: (_, address) => createConnectTransport({ baseUrl: `http://${address}`, httpVersion: '2' }),
  'connect in JSON': (_, address) =>
    createConnectTransport({ baseUrl: `http://${address}`, httpVersion: '2', useBinaryFormat: false }),
  grpc: (_, address) => createGrpcTransport({ baseUrl: `http://${address}` }),
  'grpc-web': (_, address) => createGrpcWebTransport({ baseUrl: `http://${address}`, httpVersion: '2' }),
}
const pairs = Object.keys(transports).flatMap((client) =>
  Object.keys(served)
    .filter((server) => client.startsWith('ours') || server === 'ours')
    .map((server) => [client, server]),
)

async function* names(...all) {
  for (const name of all) yield { name }
}

async function all(replies) {
  const out = []
  for await (const { message } of replies) out.push(message)
  return out
}

async function fails(promise) {
  try {
    await promise
  } catch (error) {
    assert(error instanceof ConnectError, error)
    return error
  }
  assert.fail('it did not fail')
}

for (const [client, server] of pairs) {
  const meet = async (t, seen) => {
    const address = await served[server](t, routesOf(seen))
    return createClient(Greeter, transports[client](t, address))
  }

  test(`${client} calls ${server}: calls of every kind, with headers and trailers`, async (t) => {
    const greeter = await meet(t)
    const heard = {}
    const on = { onHeader: (header) => (heard.header = header), onTrailer: (trailer) => (heard.trailer = trailer) }
    const headers = { 'x-tenant': 'blue', 'x-bytes-bin': 'AP8' }
    assert.equal((await greeter.hello({ name: 'Ada' }, { headers, ...on })).message, 'Hello, Ada!')
    assert.equal(heard.header.get('x-tenant'), 'blue')
    assert.equal(heard.header.get('x-bytes-bin'), 'AP8')
    assert.equal(heard.trailer.get('x-end'), 'over')

    assert.deepEqual(await all(greeter.again({ name: 'Ada', times: 3 }, on)), ['Ada 1', 'Ada 2', 'Ada 3'])
    assert.equal(heard.header.get('x-times'), '3')
    assert.equal(heard.trailer.get('x-end'), 'over')
    assert.deepEqual(await all(greeter.again({ name: 'Ada' }, on)), [])
    assert.equal(heard.header.get('x-times'), '0')

    assert.equal((await greeter.together(names('a', 'b', 'c'), on)).message, 'a+b+c')
    assert.equal(heard.header.get('x-many'), 'yes')
    assert.equal(heard.trailer.get('x-end'), 'over')
    assert.deepEqual(await all(greeter.each(names('a', 'b'))), ['Hello, a!', 'Hello, b!'])
  })

  test(`${client} calls ${server}: each request may wait for the reply before`, async (t) => {
    const greeter = await meet(t)
    let [next, said] = [promised(), 0]
    const requests = async function* () {
      for (; said < 3; said++) {
        yield { name: String(said) }
        await next.promise
        next = promised()
      }
    }
    const heard = []
    for await (const { message } of greeter.each(requests())) {
      heard.push(message)
      next.resolve()
    }
    assert.deepEqual(heard, ['Hello, 0!', 'Hello, 1!', 'Hello, 2!'])
  })

  test(`${client} calls ${server}: errors with metadata and details`, async (t) => {
    const greeter = await meet(t)
    const error = await fails(greeter.hello({ name: 'detail' }))
    assert.equal(error.code, Code.FailedPrecondition)
    assert.equal(error.rawMessage, 'not this one')
    assert.equal(error.metadata.get('x-why'), 'because')
    assert.deepEqual(
      error.findDetails(StringValueSchema).map(({ value }) => value),
      ['why'],
    )
    const heard = []
    const late = await fails(
      (async () => {
        for await (const { message } of greeter.again({ name: 'fail', times: 2 })) heard.push(message)
      })(),
    )
    assert.deepEqual(heard, ['fail 1', 'fail 2'])
    assert.deepEqual([late.code, late.rawMessage], [Code.ResourceExhausted, 'enough'])
    assert.equal(late.metadata.get('x-why'), 'because')
    const secret = await fails(greeter.hello({ name: 'secret' }))
    assert.equal(secret.code, Code.Internal)
    assert.doesNotMatch(secret.message, /hunter2/)
  })

  test(`${client} calls ${server}: a deadline reaches the handler`, async (t) => {
    const seen = { waits: promised(), left: promised() }
    const greeter = await meet(t, seen)
    const error = await fails(greeter.hello({ name: 'wait' }, { timeoutMs: 300 }))
    assert.equal(error.code, Code.DeadlineExceeded)
    const remaining = await seen.waits.promise
    assert(remaining > 0 && remaining <= 300, `${remaining} ms`)
    await seen.left.promise
  })

  test(`${client} calls ${server}: an abort reaches the handler`, async (t) => {
    const seen = { waits: promised(), left: promised(), ended: promised() }
    const greeter = await meet(t, seen)
    const controller = new AbortController()
    const call = fails(greeter.hello({ name: 'wait' }, { signal: controller.signal }))
    assert.equal(await seen.waits.promise, undefined)
    controller.abort()
    assert.equal((await call).code, Code.Canceled)
    await seen.left.promise

    const other = new AbortController()
    const replies = greeter.again({ name: 'Ada', times: 1e9 }, { signal: other.signal })[Symbol.asyncIterator]()
    assert.equal((await replies.next()).value.message, 'Ada 1')
    other.abort()
    const error = await fails(
      (async () => {
        while (!(await replies.next()).done);
      })(),
    )
    assert.equal(error.code, Code.Canceled)
    await seen.ended.promise
  })
}

test('a call that was aborted before it began is not made', async (t) => {
  const seen = { waits: promised() }
  const greeter = createClient(Greeter, micro(t, await ours(t, routesOf(seen))))
  assert.equal((await fails(greeter.hello({ name: 'wait' }, { signal: AbortSignal.abort() }))).code, Code.Canceled)
  const unseen = Symbol()
  assert.equal(await Promise.race([seen.waits.promise, Promise.resolve(unseen)]), unseen)
})

test('requests that fail end the call', async (t) => {
  const greeter = createClient(Greeter, micro(t, await ours(t)))
  const requests = async function* () {
    yield { name: 'a' }
    throw new Error('no more')
  }
  assert.match((await fails(greeter.together(requests()))).message, /no more/)
})

test('interceptors of both sides see what they see with Connect', async (t) => {
  const seen = []
  const key = createContextKey('nothing')
  const note = (side) => (next) => async (request) => {
    seen.push(
      `${side} ${request.method.name} ${request.stream} ${request.header.get('x-by') ?? request.contextValues.get(key)}`,
    )
    request.header.set('x-by', side)
    const response = await next(request)
    response.header.set(`x-${side}`, 'yes')
    return response
  }
  const address = await ours(t, routesOf(), { interceptors: [note('server')] })
  const greeter = createClient(Greeter, micro(t, address, { interceptors: [note('client')] }))
  let header
  const contextValues = createContextValues().set(key, 'something')
  await greeter.hello({ name: 'Ada' }, { contextValues, onHeader: (one) => (header = one) })
  await all(greeter.again({ name: 'Ada', times: 1 }, { contextValues }))
  assert.deepEqual(seen, [
    'client Hello false something',
    'server Hello false client',
    'client Again true something',
    'server Again true client',
  ])
  assert.deepEqual([header.get('x-server'), header.get('x-client')], ['yes', 'yes'])
})

test('a method without an implementation is not served', async (t) => {
  const greeter = createClient(
    Greeter,
    micro(t, await ours(t, (router) => router.rpc(Greeter.method.each, async function* () {}))),
  )
  assert.equal((await fails(greeter.hello({ name: 'Ada' }))).code, Code.Unimplemented)
  assert.deepEqual(await all(greeter.each(names())), [])
})

test('a service that is not there is unavailable, and the cause knows more', async (t) => {
  const client = new Client({ registry: 'memory://nowhere', environment: false })
  t.after(() => client.close())
  const error = await fails(createClient(Greeter, microTransport(client, 'greeter')).hello({ name: 'Ada' }))
  assert.equal(error.code, Code.Unavailable)
  assert(error.cause instanceof MicroError)
  assert.equal(error.cause.reason, 'no_nodes')
})

test('calls within a handler are part of the call that is served', async (t) => {
  const fleet = fleetOf(t)
  const inner = connectRoutes(new Service('inner'), routesOf())
  let remaining
  inner.use(async (context, next) => {
    remaining = context.remaining
    return await next()
  })
  await fleet.start(inner)
  const outer = connectRoutes(new Service('outer'), (router) =>
    router.service(Greeter, {
      async hello({ name }) {
        assert.equal(context().endpoint, 'Greeter.Hello')
        return await createClient(Greeter, microTransport(fleet.client, 'inner')).hello({ name })
      },
    }),
  )
  await fleet.start(outer)
  const greeter = createClient(Greeter, microTransport(fleet.client, 'outer'))
  assert.equal((await greeter.hello({ name: 'Ada' }, { timeoutMs: 5000 })).message, 'Hello, Ada!')
  assert(remaining > 0 && remaining <= 5000, `${remaining} ms`)
  await greeter.hello({ name: 'Ada' })
  assert.equal(remaining, undefined)
})

test('an error of this package keeps its code in a route', async (t) => {
  const routes = (router) =>
    router.service(Greeter, {
      hello() {
        const detail = { typeUrl: 'type.googleapis.com/google.protobuf.StringValue', value: Buffer.from([10, 1, 120]) }
        throw new errors.NotFound('no such name', { details: [detail] })
      },
    })
  const error = await fails(createClient(Greeter, micro(t, await ours(t, routes))).hello({}))
  assert.deepEqual([error.code, error.rawMessage], [Code.NotFound, 'no such name'])
  const [{ type, value }] = error.details
  assert.equal(type, 'google.protobuf.StringValue')
  assert.deepEqual(fromBinary(StringValueSchema, value), create(StringValueSchema, { value: 'x' }))
})
