// A broker written in JavaScript, which services and clients use by its URL as any other.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { context, errors, Metadata, provideBroker, receiveLogs, Service } from '@micro/core'
import { fleetOf, promised, until } from './world.mjs'

receiveLogs(() => undefined)

/** A subscription: an iterator of what it is lent. */
class Member {
  #waiting = []
  #messages = []

  constructor(broker, subscription) {
    Object.assign(this, { broker, subscription })
  }

  put(message, attempt = 1) {
    const lent = {
      message,
      attempt,
      published: new Date(),
      settle: (verdict) => this.#settle(message, attempt, verdict),
    }
    const waiting = this.#waiting.shift()
    if (waiting) waiting({ done: false, value: lent })
    else this.#messages.push(lent)
  }

  async #settle(message, attempt, verdict) {
    this.broker.verdicts.push(verdict)
    const { kind, reason } = verdict
    if (kind === 'retry' && attempt < this.subscription.maxAttempts) {
      setTimeout(() => this.put(message, attempt + 1), verdict.delay)
    } else if (kind === 'retry' || kind === 'reject') {
      this.broker.publish({
        ...message,
        topic: this.subscription.deadLetters,
        metadata: new Metadata([['why', reason]]),
      })
    } else if (kind === 'ack' && textOf(message) === '"unsettled"') {
      throw new Error('the disk is full')
    }
  }

  [Symbol.asyncIterator]() {
    return this
  }

  next() {
    if (this.#messages.length > 0) return { done: false, value: this.#messages.shift() }
    return new Promise((told) => this.#waiting.push(told))
  }

  return() {
    this.broker.members.splice(this.broker.members.indexOf(this), 1)
    for (const told of this.#waiting.splice(0)) told({ done: true, value: undefined })
    return { done: true, value: undefined }
  }
}

/** A broker in memory, which delivers again. */
class Queues {
  abilities = ['redelivers', 'expires']
  members = []
  verdicts = []
  published = []

  publish(message) {
    if (textOf(message) === '"full"') throw new errors.ResourceExhausted('no room for it')
    this.published.push(message)
    const served = new Set()
    for (const member of this.members) {
      const { topic, queue } = member.subscription
      if (topic !== message.topic || served.has(queue)) continue
      if (queue !== undefined) served.add(queue)
      member.put(message)
    }
    this.members.push(...this.members.splice(0, 1))
  }

  async subscribe(subscription) {
    const member = new Member(this, subscription)
    this.members.push(member)
    return member
  }
}

function textOf({ body }) {
  return Buffer.from(body).toString()
}

/** A broker that is provided for one test, and a fleet. */
function provided(t, name, broker = new Queues()) {
  const own = provideBroker(name, broker)
  t.after(() => own.close())
  const fleet = fleetOf(t)
  return { broker, own, fleet, client: fleet.newClient({ broker: own.url }) }
}

test('services and clients use a broker in JavaScript by its url', async (t) => {
  const { broker, own, fleet, client } = provided(t, 'queues')
  const seen = []
  const service = new Service('billing', { broker: own.url })
  service.subscribe(
    'orders',
    ({ number }, { attempt, metadata }) => {
      seen.push([number, attempt, metadata.get('tenant')])
      if (number === 13) throw new errors.FailedPrecondition('the card was refused')
    },
    { queue: 'billing', backoff: 'none', maxAttempts: 2 },
  )
  service.subscribe('orders.dead', (_, { metadata }) => {
    seen.push(metadata.get('why'))
  })
  await fleet.start(service)
  const key = Buffer.from([0, 0xff])
  await client.publish('orders', { number: 7 }, { expiresIn: 60_000, metadata: { tenant: 'blue', 'key-bin': key } })
  await until(() => seen.length === 1, 'the first message')
  assert.deepEqual(seen, [[7, 1, 'blue']])
  const [kept] = broker.published
  assert.deepEqual([kept.topic, textOf(kept), kept.contentType], ['orders', '{"number":7}', 'application/json'])
  assert.deepEqual(Buffer.from(kept.metadata.get('key-bin')), key)
  assert.equal(kept.metadata.get('micro-args-bin'), undefined)
  assert(kept.expires > new Date())
  await client.publish('orders', { number: 13 }, { metadata: { tenant: 'red' } })
  await until(() => seen.length === 4, 'a dead letter')
  assert.deepEqual(seen.slice(1, 3), [
    [13, 1, 'red'],
    [13, 2, 'red'],
  ])
  assert.match(seen[3], /the card was refused/)
  await service.stop()
  await until(() => broker.members.length === 0, 'the end of its subscriptions')
})

test('what a broker throws reaches the publisher, and what it cannot do is refused', async (t) => {
  const { own, fleet, client } = provided(t, 'refusing')
  await assert.rejects(client.publish('orders', 'full'), (error) => {
    assert(error instanceof errors.ResourceExhausted, String(error))
    return /no room for it/.test(error.message)
  })
  await assert.rejects(client.publish('orders', 7, { delay: 1000 }), /does not know a delay/)
  await assert.rejects(client.subscribe('orders', { start: 'first' }).ready(), /leave out `start`/)
  await own.close()
  assert.throws(() => fleet.newClient({ broker: own.url }), /provide it first/)
})

test('a failure to settle is told, and the subscription goes on', async (t) => {
  const { broker, client } = provided(t, 'failing')
  const orders = client.subscribe('orders')
  await orders.ready()
  const next = async () => (await orders.next()).value
  await client.publish('orders', 'unsettled')
  assert.equal((await next()).ack(), true)
  await client.publish('orders', 'next')
  const delivery = await next()
  assert.equal(delivery.message, 'next')
  assert(delivery.extend() && delivery.retry(10, 'later'))
  const again = await next()
  assert.equal(again.attempt, 2)
  again.ack()
  await orders.return()
  await until(() => broker.members.length === 0, 'the end of the subscription')
  const kinds = broker.verdicts.map(({ kind }) => kind)
  assert.deepEqual(kinds, ['ack', 'extend', 'retry', 'ack'])
  assert.deepEqual(broker.verdicts[2], { kind: 'retry', delay: 10, reason: 'later' })
})

test('a publisher that gives up is heard of', async (t) => {
  const left = promised()
  const slow = new Queues()
  slow.publish = () =>
    new Promise((_, reject) => {
      const { signal } = context()
      signal.addEventListener('abort', () => {
        left.resolve()
        reject(signal.reason)
      })
    })
  const { client } = provided(t, 'slow', slow)
  await assert.rejects(client.publish('orders', 7, { timeout: 50 }), errors.DeadlineExceeded)
  await left.promise
})

test('what breaks the rules of subscriptions is logged, and the subscription made again', async (t) => {
  const logged = []
  receiveLogs(({ error }) => logged.push(String(error)))
  t.after(() => receiveLogs(() => undefined))
  const odd = new Queues()
  async function* none() {
    yield { message: 7 }
  }
  const given = [undefined, none()]
  odd.subscribe = (subscription) =>
    given.length > 0 ? given.shift() : Queues.prototype.subscribe.call(odd, subscription)
  const { client } = provided(t, 'odd', odd)
  const orders = client.subscribe('orders')
  const next = orders.next()
  await until(() => odd.members.length === 1, 'a subscription')
  await client.publish('orders', 7)
  assert.equal((await next).value.message, 7)
  await orders.return()
  const all = logged.join('\n')
  assert.match(all, /subscribe returned no asynchronous iterable/)
  assert.match(all, /subscribe gave what is no message/)
})

test('a broker is told all terms, and consumers all that it knows', async (t) => {
  const able = new Queues()
  able.abilities = ['redelivers', 'replays', 'delays', 'ordersByKey', 'expires', 'deduplicates', 'prioritizes']
  const asked = []
  const published = new Date(1_700_000_000_123)
  able.subscribe = (subscription) => {
    asked.push(subscription)
    const body = Buffer.from('"kept"')
    const metadata = new Metadata([
      ['tags', 'a'],
      ['tags', 'b'],
      ['raw-bin', Buffer.from([0, 255])],
    ])
    const message = { topic: subscription.topic, body, metadata, contentType: 'application/json' }
    const lent = {
      message: { ...message, key: 'k', id: 'i', priority: 3 },
      settle() {},
      attempt: 4,
      sequence: 70,
      published,
    }
    const given = [lent]
    return {
      [Symbol.asyncIterator]: () => ({
        next: () => (given.length > 0 ? { done: false, value: given.shift() } : new Promise(() => undefined)),
      }),
    }
  }
  const { client } = provided(t, 'able', able)
  const before = Date.now()
  await client.publish('orders', 7, { key: 'k', id: 'i', priority: 9, delay: 60_000, expiresIn: 120_000 })
  const [{ key, id, priority, due, expires }] = able.published
  assert.deepEqual([key, id, priority], ['k', 'i', 9])
  assert(due - before >= 59_000 && expires - due >= 59_000, `${due} ${expires}`)
  const time = new Date(1_700_000_000_000)
  for (const [start, told] of [
    [undefined, 'new'],
    ['first', 'first'],
    [{ sequence: 7 }, { sequence: 7 }],
    [{ time }, { time }],
  ]) {
    const terms = { queue: 'q', maxInFlight: 2, maxAttempts: 3, lease: 1500, deadLetters: 'graves', start }
    const orders = client.subscribe('orders', terms)
    const { value } = await orders.next()
    assert.deepEqual(asked.pop(), { ...terms, topic: 'orders', start: told })
    assert.deepEqual(
      [value.message, value.attempt, value.sequence, value.published, value.key, value.messageId, value.priority],
      ['kept', 4, 70, published, 'k', 'i', 3],
    )
    assert.deepEqual(value.metadata.getAll('tags'), ['a', 'b'])
    assert.deepEqual([...value.metadata.get('raw-bin')], [0, 255])
    value.ack()
    await orders.return()
  }
})

test('what is no broker, and what is no name, is refused', () => {
  class Odd extends Queues {
    abilities = ['redelivers', 'flies']
  }
  assert.throws(() => provideBroker('odd', new Odd()), /flies is no ability: there are redelivers/)
  assert.throws(() => provideBroker('nothing', {}), /no broker: it has no method `publish`/)
  assert.throws(() => provideBroker('none', { publish() {}, subscribe() {} }), /its `abilities` are no list/)
  assert.throws(() => provideBroker('no name', new Queues()), /is no name/)
})
