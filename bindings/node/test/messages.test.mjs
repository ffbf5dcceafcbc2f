import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client, context, errors, live, receiveLogs, Service } from '@micro/core'
import { fleetOf, folder, promised, until } from './world.mjs'

/** Terms under which failures are tried again at once. */
const SOON = { queue: 'q', backoff: 'none' }

/** A fleet, and a folder that a durable broker has for one test. */
async function durable(t) {
  const fleet = fleetOf(t)
  const broker = `durable://${await folder(t)}`
  return { fleet, broker, client: fleet.newClient({ broker }) }
}

/** A service with these subscribers, which is there for one test. */
async function subscribed(fleet, broker, build) {
  const service = new Service('billing', { broker })
  build(service)
  await fleet.start(service)
  return service
}

/** What is logged during a test. */
function logged(t) {
  const records = []
  receiveLogs((record) => records.push(record))
  t.after(() => receiveLogs(() => undefined))
  return records
}

receiveLogs(() => undefined)

test('a message is handled, with all that is known of it', async (t) => {
  const { fleet, broker, client } = await durable(t)
  const seen = promised()
  await subscribed(fleet, broker, (service) =>
    service.subscribe(
      'orders',
      (order, own) => {
        const { service, endpoint, traceId } = own
        seen.resolve({ order, own, current: context(), service, endpoint, traceId })
      },
      { queue: 'billing' },
    ),
  )
  const before = Date.now()
  await client.publish('orders', { id: 7 }, { metadata: { tenant: 'blue' }, key: 'customer-1' })
  const { order, own, current, service, endpoint, traceId } = await seen.promise
  assert.deepEqual(order, { id: 7 })
  assert.equal(current, own)
  assert.deepEqual(
    [own.topic, own.attempt, own.sequence, own.key, own.contentType, service, endpoint],
    ['orders', 1, own.sequence, 'customer-1', 'application/json', 'billing', 'orders'],
  )
  assert(Number.isSafeInteger(own.sequence))
  assert(own.published >= before && own.published <= Date.now(), String(own.published))
  assert.equal(own.metadata.get('tenant'), 'blue')
  assert.match(traceId, /^[0-9a-f]{32}$/)
})

test('a message is bytes, text, or what JSON can say', async (t) => {
  const { fleet, broker, client } = await durable(t)
  const seen = []
  await subscribed(fleet, broker, (service) =>
    service.subscribe('all', (message) => void seen.push(message), { queue: 'q', maxInFlight: 1 }),
  )
  const large = Buffer.alloc(100_000, 7)
  for (const message of [Buffer.from([0, 255]), large, 'text', 7, null, [1, { a: 'ü€😀' }]]) {
    await client.publish('all', message)
  }
  await client.publish('all', 'plain', { codec: 'text' })
  await until(() => seen.length === 7)
  assert(seen[0].equals(Buffer.from([0, 255])) && seen[1].equals(large))
  assert.deepEqual(seen.slice(2), ['text', 7, null, [1, { a: 'ü€😀' }], 'plain'])
})

test('what a handler throws has the message delivered again, and is the reason of its dead letter', async (t) => {
  const { fleet, broker, client } = await durable(t)
  const [attempts, dead] = [[], promised()]
  await subscribed(fleet, broker, (service) =>
    service
      .subscribe(
        'orders',
        async (_, { attempt }) => {
          attempts.push(attempt)
          throw new errors.FailedPrecondition('the card was refused')
        },
        { ...SOON, maxAttempts: 3 },
      )
      .subscribe('orders.dead', (order, own) => dead.resolve({ order, own }), { queue: 'people' }),
  )
  await client.publish('orders', { id: 7 })
  const { order, own } = await dead.promise
  assert.deepEqual(order, { id: 7 })
  assert.deepEqual(attempts, [1, 2, 3])
  assert.match(own.metadata.get('micro-dead-reason'), /the card was refused/)
  assert.equal(own.metadata.get('micro-dead-attempts'), '3')
  assert.equal(own.metadata.get('micro-dead-queue'), 'q')
})

test('an error that forbids another attempt makes a dead letter at once', async (t) => {
  const { fleet, broker, client } = await durable(t)
  const dead = promised()
  await subscribed(fleet, broker, (service) =>
    service
      .subscribe(
        'orders',
        () => {
          throw new errors.NotFound('no such customer', { retry: false })
        },
        SOON,
      )
      .subscribe('lost', (_, own) => dead.resolve(own), { queue: 'people' }),
  )
  const elsewhere = client.subscribe('orders.dead', { queue: 'people' })
  await elsewhere.ready()
  await client.publish('orders', 1)
  const { value } = await elsewhere.next()
  assert.equal(value.metadata.get('micro-dead-attempts'), '1')
  assert.match(value.metadata.get('micro-dead-reason'), /no such customer/)
  assert.equal(value.ack(), true)
  await elsewhere.return()
})

test('an error says when its message is delivered again', async (t) => {
  const { fleet, broker, client } = await durable(t)
  const times = []
  await subscribed(fleet, broker, (service) =>
    service.subscribe(
      'orders',
      () => {
        times.push(performance.now())
        if (times.length === 1) throw new errors.Unavailable('the bank is closed', { retry: 300 })
      },
      SOON,
    ),
  )
  await client.publish('orders', 1)
  await until(() => times.length === 2)
  assert(times[1] - times[0] >= 290, `${times[1] - times[0]} ms`)
})

test('a caller is told too that another attempt is of no use', async (t) => {
  const fleet = fleetOf(t)
  let attempts = 0
  const service = new Service('shop')
  service.handle('Shop.Buy', (final) => {
    attempts++
    throw new errors.Unavailable('closed', final ? { retry: false } : {})
  })
  await fleet.start(service)
  for (const [final, made] of [
    [true, 1],
    [false, 4],
  ]) {
    attempts = 0
    const terms = { retries: 3, retry: 'always', backoff: 'none' }
    await assert.rejects(fleet.client.call('shop', 'Shop.Buy', final, terms), errors.Unavailable)
    assert.equal(attempts, made)
  }
})

test('what a handler throws that is no error for others is in the log alone', async (t) => {
  const { fleet, broker, client } = await durable(t)
  const [records, dead] = [logged(t), promised()]
  await subscribed(fleet, broker, (service) =>
    service
      .subscribe(
        'orders',
        () => {
          throw new Error('the password is 1234')
        },
        { ...SOON, maxAttempts: 1 },
      )
      .subscribe('orders.dead', (_, own) => dead.resolve(own), { queue: 'people' }),
  )
  await client.publish('orders', 1)
  const reason = (await dead.promise).metadata.get('micro-dead-reason')
  assert.doesNotMatch(reason, /1234/)
  assert.match(reason, /the log of its service says why/)
  assert(records.some(({ error }) => error?.message === 'the password is 1234'))
})

const EVEN = {
  encode: ({ even }) => Uint8Array.of(even),
  decode: ([even]) => {
    if (even % 2) throw new Error(`${even} is odd`)
    return { even }
  },
  codec: 'bytes',
}

test('a message that cannot be read, or is not valid, is a dead letter at once', async (t) => {
  const { fleet, broker, client } = await durable(t)
  const [seen, dead] = [[], []]
  await subscribed(fleet, broker, (service) =>
    service
      .subscribe('numbers', ({ even }, { attempt }) => void seen.push([even, attempt]), { ...SOON, format: EVEN })
      .subscribe('numbers.dead', (_, own) => void dead.push(own.metadata), { queue: 'people' }),
  )
  for (const even of [1, 2]) await client.publish('numbers', { even }, { format: EVEN })
  await until(() => seen.length === 1 && dead.length === 1)
  assert.deepEqual(seen, [[2, 1]])
  assert.match(dead[0].get('micro-dead-reason'), /1 is odd/)
  assert.equal(dead[0].get('micro-dead-attempts'), '1')
})

test('a reader is given no message that cannot be read', async (t) => {
  const { broker, client } = await durable(t)
  const records = logged(t)
  const dead = client.subscribe('numbers.dead', { queue: 'people' })
  const numbers = client.subscribe('numbers', { queue: 'q', format: EVEN })
  await Promise.all([dead.ready(), numbers.ready()])
  for (const even of [1, 2]) await client.publish('numbers', { even }, { format: EVEN })
  const { value } = await numbers.next()
  assert.deepEqual(value.message, { even: 2 })
  value.ack()
  assert.match((await dead.next()).value.metadata.get('micro-dead-reason'), /1 is odd/)
  assert(records.some(({ message }) => message.includes('cannot be read')))
  await Promise.all([dead.return(), numbers.return()])
  assert(broker)
})

test('a handler that takes longer than its time has failed, and hears of it', async (t) => {
  const { fleet, broker, client } = await durable(t)
  const [reasons, attempts] = [[], []]
  await subscribed(fleet, broker, (service) =>
    service.subscribe(
      'orders',
      async (_, { attempt, signal, remaining }) => {
        attempts.push(attempt)
        if (attempt > 1) return
        assert(remaining <= 200)
        await new Promise((gone) => signal.addEventListener('abort', gone))
        reasons.push(signal.reason)
      },
      { ...SOON, timeout: 200 },
    ),
  )
  await client.publish('orders', 1)
  await until(() => attempts.length === 2)
  assert(reasons[0] instanceof errors.DeadlineExceeded, String(reasons[0]))
})

test('middleware stands around messages', async (t) => {
  const { fleet, broker, client } = await durable(t)
  const said = []
  await subscribed(fleet, broker, (service) =>
    service
      .useForMessages(async (own, next) => {
        said.push(`${own.topic} begins`)
        await next()
        said.push(`${own.topic} ends`)
      })
      .useForMessages(async (own, next) => {
        if (own.metadata.get('tenant') === 'none') return
        await next({ ...own.message, price: 3 })
      })
      .subscribe('orders', async (order) => void said.push(order), SOON),
  )
  await client.publish('orders', { id: 1 })
  await until(() => said.length === 3)
  await client.publish('orders', { id: 2 }, { metadata: { tenant: 'none' } })
  await until(() => said.length === 5)
  const around = ['orders begins', 'orders ends']
  assert.deepEqual(said, ['orders begins', { id: 1, price: 3 }, 'orders ends', ...around])
})

test('what is published by a handler is part of what it handles, unless it is detached', async (t) => {
  const { fleet, broker } = await durable(t)
  const seen = new Map()
  const both = promised()
  const service = await subscribed(fleet, broker, (service) =>
    service
      .subscribe(
        'orders',
        async (_, own) => {
          seen.set('orders', own.traceId)
          await new Promise((soon) => setImmediate(soon))
          await service.client.publish('parts', 1)
          await service.client.publish('apart', 1, { detached: true })
        },
        SOON,
      )
      .subscribe('parts', (_, own) => void seen.set('parts', own.traceId), SOON)
      .subscribe(
        'apart',
        (_, own) => {
          seen.set('apart', own.traceId)
          both.resolve()
        },
        SOON,
      ),
  )
  await service.client.publish('orders', 1)
  await both.promise
  await until(() => seen.size === 3)
  assert.equal(seen.get('parts'), seen.get('orders'))
  assert.notEqual(seen.get('apart'), seen.get('orders'))
})

test('a handler settles by itself, and what it forgets has failed', async (t) => {
  const { fleet, broker, client } = await durable(t)
  const [seen, dead] = [[], []]
  await subscribed(fleet, broker, (service) =>
    service
      .subscribe(
        'orders',
        async (delivery) => {
          const { message, attempt } = delivery
          seen.push(`${message} ${attempt}`)
          await new Promise((soon) => setImmediate(soon))
          assert.equal(delivery.extend(), true)
          if (message === 'later' && attempt === 1) return assert.equal(delivery.retry(1, 'not yet'), true)
          if (message === 'never') return assert.equal(delivery.reject('no such customer'), true)
          if (message === 'forgotten' && attempt === 1) return
          if (message === 'broken' && attempt === 1) throw new errors.Unavailable('no bank')
          assert.equal(delivery.ack(), true)
          assert.equal(delivery.ack(), false)
          assert.equal(delivery.retry(), false)
          assert.equal(delivery.extend(), false)
        },
        { ...SOON, maxAttempts: 2, manual: true },
      )
      .subscribe('orders.dead', (message, own) => void dead.push([message, own.metadata.get('micro-dead-reason')]), {
        queue: 'people',
      }),
  )
  for (const message of ['well', 'later', 'never', 'forgotten', 'broken']) await client.publish('orders', message)
  await until(() => seen.length === 8 && dead.length === 1)
  const expected = ['broken 1', 'broken 2', 'forgotten 1', 'forgotten 2', 'later 1', 'later 2', 'never 1', 'well 1']
  assert.deepEqual(seen.sort(), expected)
  assert.equal(dead[0][0], 'never')
  assert.match(dead[0][1], /no such customer/)
})

test('a handler that is forgetful for good makes a dead letter that says so', async (t) => {
  const { fleet, broker, client } = await durable(t)
  const dead = client.subscribe('orders.dead', { queue: 'people' })
  await dead.ready()
  await subscribed(fleet, broker, (service) =>
    service.subscribe('orders', () => undefined, { ...SOON, maxAttempts: 1, manual: true }),
  )
  await client.publish('orders', 1)
  assert.match((await dead.next()).value.metadata.get('micro-dead-reason'), /call ack, retry or reject/)
  await dead.return()
})

test('a broker in memory tells the publisher what became of its message', async (t) => {
  const fleet = fleetOf(t)
  const seen = []
  const service = new Service('billing')
  service.subscribe('orders', async (order) => {
    seen.push(order)
    if (order === 13) throw new errors.FailedPrecondition('the card was refused')
  })
  await fleet.start(service)
  await fleet.client.publish('orders', 7)
  await assert.rejects(fleet.client.publish('orders', 13), /the card was refused/)
  assert.deepEqual(seen, [7, 13])
})

test('what a broker cannot do it refuses by name', async (t) => {
  const fleet = fleetOf(t)
  for (const [options, what] of [
    [{ key: 'a' }, /key/],
    [{ delay: '1s' }, /delay/],
    [{ expiresIn: 1000 }, /expir/],
    [{ id: 'a' }, /id/],
    [{ priority: 3 }, /priorit/],
  ]) {
    await assert.rejects(fleet.client.publish('orders', 1, options), (error) => {
      assert(error instanceof errors.InvalidArgument, String(error))
      assert.match(error.detail, what)
      return true
    })
  }
  const subscription = fleet.client.subscribe('orders', { start: 'first' })
  await assert.rejects(subscription.ready(), /leave out `start`/)
  await assert.rejects(subscription.next(), errors.InvalidArgument)
  const service = new Service('billing').subscribe('orders', () => undefined, { deadLetters: 'elsewhere' })
  await assert.rejects(fleet.start(service), /leave out `dead_letters`/)
})

test('what makes no sense is refused before anything is sent', async (t) => {
  const fleet = fleetOf(t)
  const { client } = fleet
  await assert.rejects(client.publish('', 1), errors.InvalidArgument)
  await assert.rejects(
    client.publish('orders', () => 1),
    errors.WrongArgument,
  )
  await assert.rejects(client.publish('orders', 1, { timeout: 'soon' }), TypeError)
  await assert.rejects(client.publish('orders', 1, { delays: 1 }), /did you mean `delay`/)
  assert.throws(() => client.subscribe('orders', { start: 'frist' }), /did you mean \\?"first/)
  assert.throws(() => client.subscribe('orders', { maxInFlight: Infinity }), TypeError)
  assert.throws(() => client.subscribe('orders', { lease: 'long' }), errors.InvalidArgument)
  await assert.rejects(client.subscribe('orders', { maxInFlight: 0 }).ready(), /max_in_flight/)
  const service = new Service('billing')
  assert.throws(() => service.subscribe('orders'), TypeError)
  assert.throws(() => service.useForMessages('no function'), TypeError)
  await assert.rejects(fleet.start(service.subscribe('orders', () => 1, { ques: 'q' })), /did you mean `queue`/)
  const running = new Service('other')
  await fleet.start(running)
  assert.throws(() => running.subscribe('orders', () => 1), /before it is started/)
  assert.throws(() => running.useForMessages(() => 1), /before it is started/)
  const last = new Service('last')
  last.subscribe(
    'last',
    (delivery) => {
      for (const delay of ['1s', -1, Infinity, NaN]) assert.throws(() => delivery.retry(delay), /give milliseconds/)
      delivery.ack()
    },
    { manual: true },
  )
  await fleet.start(last)
  await client.publish('last', 1)
})

test('the broker of go-micro delivers to every service of the registry', async (t) => {
  const fleet = fleetOf(t)
  const registry = `memory://http-${process.pid}`
  const options = { registry, environment: false, broker: 'http://', address: '127.0.0.1:0', propagation: 0 }
  const seen = []
  for (const name of ['first', 'second']) {
    const service = new Service(name, options)
    service.subscribe('orders', ({ id }, own) => void seen.push(`${name} ${id} ${own.metadata.get('tenant')}`))
    await service.start()
    t.after(() => service.stop())
  }
  const client = new Client({ registry, environment: false, broker: 'http://' })
  t.after(() => client.close())
  await client.publish('orders', { id: 1 }, { metadata: { tenant: 'blue' } })
  await until(() => seen.length === 2)
  assert.deepEqual(seen.sort(), ['first 1 blue', 'second 1 blue'])
  const records = await client.lookup('first')
  const topics = records[0].endpoints.map(({ metadata }) => metadata?.topic).filter(Boolean)
  assert.deepEqual(topics, ['orders'])
  assert(fleet)
})

test('a subscriber may be kept from the registry', async (t) => {
  const { fleet, broker } = await durable(t)
  await subscribed(fleet, broker, (service) =>
    service
      .subscribe('secret', () => undefined, { queue: 'q', internal: true })
      .subscribe('orders', () => undefined, { queue: 'q', format: 'shop.Order' }),
  )
  const [{ endpoints }] = await fleet.client.lookup('billing')
  assert.deepEqual(
    endpoints.map(({ metadata }) => metadata.topic).filter((topic) => topic !== undefined),
    ['orders'],
  )
  assert.match(JSON.stringify(endpoints), /shop.Order|Order/)
})

test('delay, expiry, ids and priority are the broker’s to keep', async (t) => {
  const { fleet, broker, client } = await durable(t)
  const seen = []
  await client.publish('orders', 'twice', { id: 'order-1' })
  await client.publish('orders', 'twice', { id: 'order-1' })
  await client.publish('orders', 'low', { priority: 1 })
  await client.publish('orders', 'high', { priority: 9 })
  await client.publish('orders', 'too late', { expiresIn: 1 })
  await client.publish('orders', 'delayed', { delay: '400ms' })
  await new Promise((later) => setTimeout(later, 20))
  await subscribed(fleet, broker, (service) =>
    service.subscribe('orders', (message) => void seen.push(message), { queue: 'q', start: 'first', maxInFlight: 1 }),
  )
  await until(() => seen.includes('delayed'))
  assert.deepEqual([...seen].sort(), ['delayed', 'high', 'low', 'twice'])
  assert(seen.indexOf('high') < seen.indexOf('low'), seen.join())
  assert.equal(seen.at(-1), 'delayed')
})

test('a stop waits for the handler of a message, and takes no more', async (t) => {
  const { fleet, broker, client } = await durable(t)
  const [begun, may] = [promised(), promised()]
  const seen = []
  const service = await subscribed(fleet, broker, (service) =>
    service.subscribe(
      'orders',
      async (order) => {
        begun.resolve()
        await may.promise
        seen.push(order)
      },
      { queue: 'q', maxInFlight: 1 },
    ),
  )
  await client.publish('orders', 1)
  await client.publish('orders', 2)
  await begun.promise
  const stopped = service.stop()
  may.resolve()
  await stopped
  assert.deepEqual(seen, [1])
  const rest = client.subscribe('orders', { queue: 'q' })
  const { value } = await rest.next()
  assert.equal(value.message, 2)
  value.ack()
  await rest.return()
})

test('thousands of messages are handled once each, and nothing is left of them', async (t) => {
  const { fleet, broker, client } = await durable(t)
  const seen = new Set()
  let handled = 0
  await subscribed(fleet, broker, (service) =>
    service.subscribe(
      'orders',
      async (order) => {
        handled++
        seen.add(order)
      },
      { queue: 'q', maxInFlight: 256 },
    ),
  )
  const before = [live(5), live(6)]
  for (let round = 0; round < 10; round++) {
    await Promise.all(Array.from({ length: 200 }, (_, n) => client.publish('orders', round * 200 + n)))
  }
  await until(() => handled === 2000)
  assert.equal(seen.size, 2000)
  await until(() => live(6) === before[1], 'no message is held')
  await until(() => live(5) === before[0], 'nothing is under way')
})
