import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import * as micro from '@micro/core'
import { addCodec, Client, context, errors, Runtime, raw, receiveLogs, Service, setLogLevel } from '@micro/core'
import { Fleet } from '@micro/core/testing'
import { promised, until } from './world.mjs'

/** A fleet with one service. */
async function fleetOf(t, build, options = {}) {
  const fleet = new Fleet()
  t.after(() => fleet.close())
  const service = new Service('greeter', options)
  build(service)
  await fleet.start(service)
  return { fleet, service, client: fleet.client }
}

test('a service greets', async (t) => {
  const { client } = await fleetOf(t, (service) =>
    service.handle('Greeter.Hello', async ({ name }) => ({ message: `Hello, ${name}!` })),
  )
  assert.deepEqual(await client.call('greeter', 'Greeter.Hello', { name: 'Ada' }), { message: 'Hello, Ada!' })
})

test('a plain function answers at once, and what it answers may be anything that JSON can say', async (t) => {
  const { client } = await fleetOf(t, (service) => service.handle('Greeter.Echo', (request) => request))
  for (const value of [1, 'text', null, true, [1, [2]], { a: { b: [] } }, 'ü€😀'.repeat(30_000)]) {
    assert.deepEqual(await client.call('greeter', 'Greeter.Echo', value), value)
  }
  assert.equal(await client.call('greeter', 'Greeter.Echo'), null)
})

test('bytes travel as they are, whatever their size', async (t) => {
  const { client } = await fleetOf(t, (service) => service.handle('Greeter.Echo', (request) => request))
  for (const size of [0, 1, 1000, 16 * 1024, 16 * 1024 + 1, 300_000, 3_000_000]) {
    const sent = Buffer.alloc(size, size % 251)
    const reply = await client.call('greeter', 'Greeter.Echo', sent)
    assert(reply.equals(sent), `${size} bytes`)
  }
})

test('bytes that came in are the reader’s own, however many calls follow', async (t) => {
  const { client } = await fleetOf(t, (service) => service.handle('Greeter.Echo', (request) => request))
  const call = (fill) => client.call('greeter', 'Greeter.Echo', Buffer.alloc(100, fill))
  const replies = await Promise.all(Array.from({ length: 100 }, (_, fill) => call(fill)))
  await Promise.all(Array.from({ length: 100 }, () => call(255)))
  for (const [fill, reply] of replies.entries()) assert(reply.equals(Buffer.alloc(100, fill)))
  // One that changed hands may be written to.
  const large = await client.call('greeter', 'Greeter.Echo', Buffer.alloc(100_000, 7))
  large.fill(8)
  assert.equal((await client.call('greeter', 'Greeter.Echo', Buffer.alloc(100_000, 7)))[0], 7)
})

test('a sender may write over its bytes once the call was made', async (t) => {
  const { client } = await fleetOf(t, (service) => service.handle('Greeter.Echo', (request) => request))
  const sent = Buffer.alloc(100_000, 1)
  const reply = client.call('greeter', 'Greeter.Echo', sent)
  sent.fill(2)
  assert((await reply).equals(Buffer.alloc(100_000, 1)))
})

test('text is text', async (t) => {
  const { client } = await fleetOf(t, (service) => service.handle('Greeter.Echo', (text) => `${text}, indeed`))
  assert.equal(await client.call('greeter', 'Greeter.Echo', 'Ünï', { codec: 'text' }), 'Ünï, indeed')
})

test('a format writes and reads what it is made for, on both sides', async (t) => {
  const point = {
    codec: 'bytes',
    typeName: 'test.Point',
    encode: ({ x, y }) => Uint8Array.of(x, y),
    decode: (bytes) => ({ x: bytes[0], y: bytes[1] }),
  }
  const { client } = await fleetOf(t, (service) =>
    service.handle('Greeter.Mirror', ({ x, y }) => ({ x: y, y: x }), { request: point, response: point }),
  )
  const reply = await client.call('greeter', 'Greeter.Mirror', { x: 1, y: 2 }, { request: point, returns: point })
  assert.deepEqual(reply, { x: 2, y: 1 })
  const [{ endpoints }] = await client.lookup('greeter')
  assert.equal(endpoints[0].request.type, 'test.Point')
})

test('the context says who calls, and how long they wait', async (t) => {
  const { client, service } = await fleetOf(t, (service) =>
    service.handle('Greeter.Who', async (_, own) => ({
      endpoint: own.endpoint,
      service: own.service,
      caller: own.caller,
      remaining: own.remaining,
      tenant: own.metadata.get('tenant'),
      all: own.metadata.getAll('X-Many'),
      bin: [...own.metadata.get('key-bin')],
      trace: [own.traceId.length > 0, own.spanId.length > 0],
      same: context() === own,
    })),
  )
  const metadata = [
    ['tenant', 'blue'],
    ['x-many', '1'],
    ['x-many', '2'],
    ['key-bin', Uint8Array.of(0, 255)],
  ]
  const { remaining, ...told } = await client.call('greeter', 'Greeter.Who', {}, { metadata, timeout: 5000 })
  assert(remaining > 1000 && remaining <= 5000, `${remaining}`)
  assert.deepEqual(told, {
    endpoint: 'Greeter.Who',
    service: 'greeter',
    caller: '',
    tenant: 'blue',
    all: ['1', '2'],
    bin: [0, 255],
    trace: [true, true],
    same: true,
  })
  assert.equal((await service.client.call('greeter', 'Greeter.Who', {}, { metadata })).caller, 'greeter')
  assert.equal(context(), undefined)
})

test('no timeout is no deadline, and no time left is one that has passed', async (t) => {
  const { client } = await fleetOf(t, (service) =>
    service.handle('Greeter.Left', async (_, { remaining }) => remaining ?? 'for ever'),
  )
  assert.equal(await client.call('greeter', 'Greeter.Left', {}, { timeout: Infinity }), 'for ever')
  assert.equal(await client.call('greeter', 'Greeter.Left', {}, { timeout: null }), 'for ever')
  await assert.rejects(client.call('greeter', 'Greeter.Left', {}, { timeout: 0 }), errors.DeadlineExceeded)
  await assert.rejects(client.call('greeter', 'Greeter.Left', {}, { timeout: -1 }), errors.DeadlineExceeded)
  await assert.rejects(client.call('greeter', 'Greeter.Left', {}, { timeout: NaN }), /give milliseconds/)
})

test('headers and trailers come with the reply, and with a failure', async (t) => {
  const { client } = await fleetOf(t, (service) => {
    service.handle('Greeter.Hello', async (_, context) => {
      context.setHeader('x-head', 'one')
      context.setHeader('key-bin', Uint8Array.of(1, 2))
      context.setTrailer('x-tail', 'two')
      return 'fine'
    })
    service.handle('Greeter.Fail', async (_, context) => {
      context.setTrailer('x-tail', 'three')
      throw new errors.Aborted('later')
    })
  })
  const { message, headers, trailers } = await client.request('greeter', 'Greeter.Hello')
  assert.deepEqual([message, headers.get('X-Head'), trailers.get('x-tail')], ['fine', 'one', 'two'])
  assert.deepEqual([...headers.get('key-bin')], [1, 2])
  await assert.rejects(client.call('greeter', 'Greeter.Fail'), (error) => error.trailers.get('x-tail') === 'three')
})

test('metadata that cannot be sent is refused by name', async (t) => {
  const { client } = await fleetOf(t, (service) =>
    service.handle('Greeter.Hello', async (_, context) => context.setTrailer('grpc-status', '0')),
  )
  const call = (metadata) => client.call('greeter', 'Greeter.Hello', {}, { metadata })
  await assert.rejects(call({ tenant: 7 }), /metadata `tenant` is number/)
  await assert.rejects(call([['tenant']]), /pairs of a name and a value/)
  await assert.rejects(call({ te: 'x' }), /reserved/)
  await assert.rejects(call({ ok: 'yes' }), errors.InvalidArgument)
})

test('calls inside of a handler are part of its call, also after it has waited', async (t) => {
  const fleet = new Fleet()
  t.after(() => fleet.close())
  const inner = new Service('inner')
  const seen = []
  inner.handle('Inner.See', async (_, own) => {
    seen.push([own.metadata.get('micro-from-service') ?? own.caller, own.remaining, own.traceId])
    return 'seen'
  })
  const outer = new Service('outer')
  outer.handle('Outer.Go', async (_, own) => {
    await sleep(1)
    await Promise.all([outer.client.call('inner', 'Inner.See'), outer.client.call('inner', 'Inner.See')])
    await outer.client.call('inner', 'Inner.See', {}, { detached: true, timeout: Infinity })
    return own.traceId
  })
  await fleet.start(inner)
  await fleet.start(outer)
  const trace = await fleet.client.call('outer', 'Outer.Go', {}, { timeout: 8000 })
  assert.equal(seen.length, 3)
  for (const [, remaining, name] of seen.slice(0, 2)) {
    assert(remaining > 0 && remaining < 8000, `${remaining}`)
    assert.equal(name, trace)
  }
  assert.equal(seen[2][1], undefined)
  assert.notEqual(seen[2][2], trace)
})

test('a hundred calls run at once, and each handler sees its own context', async (t) => {
  const { client } = await fleetOf(t, (service) =>
    service.handle('Greeter.Mine', async (request, own) => {
      await sleep(Math.random() * 5)
      assert.equal(context(), own)
      return { request, tenant: context().metadata.get('tenant') }
    }),
  )
  const call = (n) => client.call('greeter', 'Greeter.Mine', n, { metadata: { tenant: `t${n}` } })
  const replies = await Promise.all(Array.from({ length: 100 }, (_, n) => call(n)))
  for (const [n, reply] of replies.entries()) assert.deepEqual(reply, { request: n, tenant: `t${n}` })
})

test('a deadline ends both sides', async (t) => {
  const aborted = promised()
  const { client } = await fleetOf(t, (service) =>
    service.handle('Greeter.Wait', async (_, { signal }) => {
      signal.addEventListener('abort', () => aborted.resolve(signal.reason))
      await sleep(60_000, undefined, { signal })
    }),
  )
  const call = client.call('greeter', 'Greeter.Wait', {}, { timeout: 50 })
  await assert.rejects(call, (error) => {
    assert(error instanceof errors.DeadlineExceeded)
    assert.deepEqual([error.code, error.status, error.attempts], [4, 'DEADLINE_EXCEEDED', 1])
    assert.match(String(error), /greeter Greeter.Wait on greeter-.*1 attempt/)
    return true
  })
  assert((await aborted.promise) instanceof errors.DeadlineExceeded)
})

test('the registry tells who is there, and what changes', async (t) => {
  const { client, service } = await fleetOf(t, (service) => service.handle('Greeter.Hello', () => 'hello'), {
    version: '1.2',
    metadata: { zone: 'west' },
  })
  const [record] = await client.lookup('greeter')
  assert.deepEqual([record.name, record.version, record.nodes[0].address], ['greeter', '1.2', service.address])
  assert.equal(record.nodes[0].metadata.zone, 'west')
  assert(record.endpoints.some(({ name }) => name === 'Greeter.Hello'))
  assert((await client.services()).some(({ name }) => name === 'greeter'))
  await assert.rejects(client.lookup('nobody'), errors.NotFound)

  const watch = await client.watch('other')
  const other = { name: 'other', version: '1', nodes: [{ id: 'a', address: '127.0.0.1:1' }] }
  await client.register(other, { ttl: 60_000 })
  const { value } = await watch.next()
  assert.deepEqual([value.action, value.service.nodes[0].id], ['create', 'a'])
  await client.deregister(other)
  assert.equal((await watch.next()).value.action, 'delete')
  await watch.return()
  await assert.rejects(watch.next(), errors.Cancelled)

  await client.call('greeter', 'Greeter.Hello')
  const [node] = await client.nodes('greeter')
  assert.deepEqual([node.address, node.ejected, typeof node.latency], [service.address, false, 'number'])
  assert.equal((await client.health('greeter'))[0].serving, true)
  service.setHealth(false)
  assert.equal((await client.health('greeter'))[0].serving, false)
  await until(async () => JSON.stringify(await service.stats()).includes('Greeter.Hello'))
  assert(JSON.stringify(await client.stats()).includes('Greeter.Hello'))
})

test('options reach the core, and mistakes name their field', async (t) => {
  assert.throws(() => new Client({ retires: 1 }), /did you mean .*retries/)
  assert.throws(() => new Client({ maxInFlight: 0 }), /max_in_flight: 0 is out of range/)
  assert.throws(() => new Client({ dialTimeout: 'soon' }), /dial_timeout/)
  assert.throws(() => new Client({ tls: { authority: () => 'pem' } }), /tls.authority is a function/)
  assert.throws(() => new Client({ retries: NaN }), /retries is NaN/)
  new Client({ timeout: null, idleTimeout: Infinity, dialTimeout: 1.5, keepalive: '1s', environment: false }).close()
  const { client } = await fleetOf(t, (service) => service.handle('Greeter.Hello', () => 'hello'))
  const call = (options) => client.call('greeter', 'Greeter.Hello', {}, options)
  await assert.rejects(call({ strategy: 'fastest' }), /strategy/)
  await assert.rejects(call({ codec: 'xml' }), /codec "xml" is unknown/)
  assert.equal(await call({ strategy: 'round_robin', retries: 2, waitForReady: true, cached: 1000 }), 'hello')
  const service = new Service('wrong', { registerTtl: 1, registerInterval: '1m', registry: 'memory://wrong' })
  await assert.rejects(service.start(), /register_ttl/)
})

test('middleware of a service is around its handlers, the first outermost', async (t) => {
  const order = []
  const { client } = await fleetOf(t, (service) => {
    service.handle('Greeter.Echo', (request) => request)
    service.handle('Greeter.Other', () => 'other')
    service.use(async (context, next) => {
      order.push(`in ${context.endpoint} ${context.request}`)
      const reply = await next()
      order.push('out')
      return reply
    })
    service.use(async (context, next) => `${await next(context.request + 1)}!`, { endpoints: ['Greeter.Echo'] })
  })
  assert.equal(await client.call('greeter', 'Greeter.Echo', 1), '2!')
  assert.equal(await client.call('greeter', 'Greeter.Other', 1), 'other')
  assert.deepEqual(order, ['in Greeter.Echo 1', 'out', 'in Greeter.Other 1', 'out'])
  const wrong = new Service('wrong').use(async (_, next) => next(), { endpoints: ['No.Such'] })
  await assert.rejects(wrong.start(), /middleware is for No.Such/)
  assert.throws(() => wrong.use('no function'), TypeError)
})

test('middleware of a client is around its calls and streams', async (t) => {
  const { fleet } = await fleetOf(t, (service) => {
    service.handle('Greeter.Tenant', (_, { metadata }) => metadata.get('tenant'))
    service.serverStream('Greeter.Count', async function* (to) {
      for (let n = 1; n <= to; n++) yield n
    })
    service.clientStream('Greeter.Sum', async (numbers) => {
      let sum = 0
      for await (const number of numbers) sum += number
      return sum
    })
  })
  const client = fleet.newClient()
  const shapes = []
  client.use(async (call, next) => {
    shapes.push(call.shape)
    call.options.metadata = { tenant: 'blue' }
    if (call.endpoint === 'Greeter.No') throw new errors.PermissionDenied('not this one')
    return call.endpoint === 'Greeter.Own' ? { message: 'own' } : await next()
  })
  assert.equal(await client.call('greeter', 'Greeter.Tenant'), 'blue')
  assert.equal(await client.call('greeter', 'Greeter.Own'), 'own')
  await assert.rejects(client.call('greeter', 'Greeter.No'), errors.PermissionDenied)
  assert.deepEqual(
    (await Array.fromAsync?.(client.serverStream('greeter', 'Greeter.Count', 3))) ?? [1, 2, 3],
    [1, 2, 3],
  )
  assert.equal(await client.clientStream('greeter', 'Greeter.Sum', [1, 2, 3]), 6)
  const stream = client.clientStream('greeter', 'Greeter.Sum')
  await stream.send(4)
  stream.end()
  assert.equal(await stream, 4)
  const refused = client.serverStream('greeter', 'Greeter.No')
  await assert.rejects(refused.next(), errors.PermissionDenied)
  assert(shapes.includes('server_stream') && shapes.includes('client_stream') && shapes.includes('unary'))
})

test('hooks run in their order, and what they throw is told or logged', async (t) => {
  const said = []
  receiveLogs((record) => said.push(record.message))
  t.after(() => receiveLogs(() => undefined))
  const fleet = new Fleet()
  t.after(() => fleet.close())
  const order = []
  const service = new Service('hooked')
    .beforeStart(async () => order.push('before start'))
    .afterStart(() => order.push(`after start ${service.address !== ''}`))
    .beforeStop(async () => {
      order.push('before stop')
      throw new Error('of a hook')
    })
    .afterStop(() => order.push('after stop'))
  await fleet.start(service)
  await service.stop()
  assert.deepEqual(order, ['before start', 'after start true', 'before stop', 'after stop'])
  assert(said.some((message) => message.includes('`before stop` failed')))
  const broken = new Service('broken').afterStart(() => {
    throw new Error('cannot go on')
  })
  await assert.rejects(fleet.start(broken), /cannot go on/)
  assert.throws(() => broken.address, /does not run/)
})

test('a service starts once at a time, and again after a stop', async (t) => {
  const { fleet, service, client } = await fleetOf(t, (service) => service.handle('Greeter.Hello', () => 'hello'))
  await assert.rejects(service.start(), /runs already/)
  assert.throws(() => service.handle('Greeter.More', () => 'more'), /runs already/)
  await service.stop()
  await service.stop()
  await fleet.start(service)
  assert.equal(await client.call('greeter', 'Greeter.Hello'), 'hello')
})

test('a handler that yields is no handler of one reply', () => {
  const service = new Service('odd')
  assert.throws(() => service.handle('Odd.Yield', async function* () {}), /serverStream or bidiStream/)
  assert.throws(() => service.handle('Odd.Nothing'), /give a function/)
  assert.throws(() => new Service(7), /the name of a service is number/)
})

test('a runtime of its own ends what it has begun, and tells who waits', async () => {
  const runtime = new Runtime({ workers: 1 })
  const fleet = new Fleet({ runtime })
  const service = new Service('held', { runtime, grace: 0 })
  const reached = promised()
  service.handle('Held.Wait', () => {
    reached.resolve()
    return new Promise(() => undefined)
  })
  await fleet.start(service)
  const call = assert.rejects(fleet.client.call('held', 'Held.Wait', {}, { timeout: Infinity }), errors.MicroError)
  await reached.promise
  await runtime.close()
  await call
  await service.wait()
  await runtime.close()
  await assert.rejects(fleet.client.call('held', 'Held.Wait'), errors.Closed)
  assert.throws(() => new Client({ runtime }), errors.Closed)
})

test('a closed client makes no more calls', async (t) => {
  const { fleet } = await fleetOf(t, (service) => service.handle('Greeter.Hello', () => 'hello'))
  const client = fleet.newClient()
  client.close()
  client.close()
  await assert.rejects(client.call('greeter', 'Greeter.Hello'), errors.Closed)
  await assert.rejects(client.lookup('greeter'), errors.Closed)
  assert.throws(() => client.serverStream('greeter', 'Greeter.Hello'), errors.Closed)
})

test('both kinds of modules share one implementation', () => {
  const required = createRequire(import.meta.url)('@micro/core')
  const names = (module) =>
    Object.keys(module).filter((name) => !['default', 'module.exports', '__esModule'].includes(name))
  assert.deepEqual(names(required).sort(), names(micro).sort())
  for (const [name, value] of Object.entries(micro)) {
    if (name in required && name !== 'default') assert.equal(required[name], value, name)
  }
  assert.equal(micro.version, required.version)
})

test('log records of the core reach the program', async (t) => {
  const records = []
  receiveLogs((record) => records.push(record))
  setLogLevel('debug')
  t.after(() => {
    setLogLevel('warn')
    receiveLogs(() => undefined)
  })
  const { client } = await fleetOf(t, (service) => service.handle('Greeter.Hello', () => 'hello'))
  await client.call('greeter', 'Greeter.Hello')
  await until(() => records.length > 0)
  const { level, target, time_ms } = records[0]
  assert(['debug', 'info', 'warn'].includes(level) && target.startsWith('micro') && time_ms > 1e12, level)
})

test('a content type of the program’s own is spoken by both sides', async (t) => {
  addCodec('x.reverse', {
    encode: (message) => Buffer.from(JSON.stringify(message)).reverse(),
    decode: (bytes) => JSON.parse(Buffer.from(bytes).reverse().toString()),
  })
  const { client } = await fleetOf(t, (service) => service.handle('Greeter.Echo', ({ n }) => ({ n: n + 1 })))
  assert.deepEqual(await client.call('greeter', 'Greeter.Echo', { n: 1 }, { codec: 'x.reverse' }), { n: 2 })
  const { message } = await client.request('greeter', 'Greeter.Echo', { n: 1 }, { codec: 'x.reverse', returns: raw })
  assert.equal(message.toString(), '}2:"n"{'.replace('"n"', '"n"'))
  assert.throws(() => addCodec('no name', {}), errors.InvalidArgument)
})

test('settings are explained, and flags come first', async () => {
  const service = new Service('greeter', { argv: ['--address=:8080'], grace: 1500, environment: false })
  const found = Object.fromEntries(service.explain().map(({ key, value, kind }) => [key, [value, kind]]))
  assert.deepEqual(found.address, [':8080', 'flag'])
  assert.equal(found.grace[1], 'code')
  assert.throws(() => new Service('greeter', { argv: '--address' }), TypeError)
})

test('a node that its check finds unfit is not registered until it is fit', async (t) => {
  const fleet = new Fleet()
  t.after(() => fleet.close())
  let isFit = false
  let asked = 0
  const service = new Service('checked', { registerInterval: 20 }).registerCheck(async () => {
    asked++
    return isFit
  })
  const started = fleet.start(service)
  await until(() => asked > 0)
  await assert.rejects(fleet.client.lookup('checked'), errors.NotFound)
  isFit = true
  await started
  await until(async () => (await fleet.client.lookup('checked').catch(() => [])).length === 1)
})

test('raw messages are bytes in any codec', async (t) => {
  const { client } = await fleetOf(t, (service) =>
    service.handle('Greeter.Bytes', (bytes) => Buffer.concat([bytes, bytes]), { request: raw, response: raw }),
  )
  const reply = await client.call('greeter', 'Greeter.Bytes', { a: 1 }, { codec: 'json', returns: raw })
  assert.equal(reply.toString(), '{"a":1}{"a":1}')
})
