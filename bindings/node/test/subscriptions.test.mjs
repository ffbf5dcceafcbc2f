import assert from 'node:assert/strict'
import { test } from 'node:test'
import { errors, live, Service } from '@micro/core'
import { fleetOf, folder, program, promised, until } from './world.mjs'

/** A client of a durable broker in a folder of its own. */
async function durable(t) {
  const fleet = fleetOf(t)
  const broker = `durable://${await folder(t)}`
  return { fleet, broker, client: fleet.newClient({ broker }) }
}

/** The messages that are there, each acknowledged, in the order of their arrival. */
async function take(client, topic, count, options) {
  const seen = []
  for await (const delivery of client.subscribe(topic, options)) {
    seen.push(delivery)
    delivery.ack()
    if (seen.length === count) break
  }
  return seen
}

test('a loop takes messages and settles each', async (t) => {
  const { client } = await durable(t)
  await client.publish('orders', { id: 1 }, { metadata: { tenant: 'blue' }, key: 'k' })
  await client.publish('orders', { id: 2 })
  const attempts = []
  for await (const delivery of client.subscribe('orders', { queue: 'q', start: 'first', maxInFlight: 1 })) {
    const { message, attempt, key, metadata, topic, contentType, published } = delivery
    attempts.push(`${message.id} ${attempt}`)
    if (message.id === 1) {
      assert.deepEqual([key, metadata.get('tenant'), topic, contentType], ['k', 'blue', 'orders', 'application/json'])
      assert(published instanceof Date && Math.abs(published - Date.now()) < 60_000)
    }
    if (attempt === 1) {
      assert.equal(delivery.retry(0, 'not yet'), true)
      continue
    }
    assert.equal(delivery.extend(), true)
    assert.equal(delivery.ack(), true)
    assert.equal(delivery.settled, true)
    assert.equal(delivery.reject(), false)
    if (attempts.length === 4) break
  }
  assert.deepEqual(attempts.sort(), ['1 1', '1 2', '2 1', '2 2'])
})

test('what was acknowledged before a loop is left is never delivered again', async (t) => {
  const { client } = await durable(t)
  const options = { queue: 'q', start: 'first' }
  for (let round = 0; round < 50; round++) {
    await client.publish('orders', round)
    assert.equal((await take(client, 'orders', 1, options))[0].message, round)
  }
})

test('what was not settled when a loop was left is another’s', async (t) => {
  const { client } = await durable(t)
  for (const id of [1, 2, 3]) await client.publish('orders', id)
  const options = { queue: 'q', start: 'first' }
  let held
  for await (const delivery of client.subscribe('orders', options)) {
    held = delivery
    break
  }
  const taken = await take(client, 'orders', 3, options)
  assert.deepEqual(taken.map(({ message }) => message).sort(), [1, 2, 3])
  assert.equal(held.ack(), false)
})

test('older messages are read again, from the first, by number and by time', async (t) => {
  const { client } = await durable(t)
  for (const id of [1, 2, 3]) await client.publish('orders', id)
  const all = await take(client, 'orders', 3, { start: 'first' })
  assert.deepEqual(
    all.map(({ message }) => message),
    [1, 2, 3],
  )
  const [second] = await take(client, 'orders', 1, { start: { sequence: all[1].sequence } })
  assert.equal(second.message, 2)
  for (const time of [all[0].published, all[0].published.getTime()]) {
    assert.equal((await take(client, 'orders', 1, { start: { time } }))[0].message, 1)
  }
})

test('messages of one key are read one after the other', async (t) => {
  const { client } = await durable(t)
  for (const id of [1, 2, 3]) await client.publish('orders', id, { key: 'k' })
  const subscription = client.subscribe('orders', { queue: 'q', start: 'first' })
  const first = (await subscription.next()).value
  const second = subscription.next()
  assert.equal(
    await Promise.race([second.then(() => 'came'), new Promise((r) => setTimeout(r, 100, 'waits'))]),
    'waits',
  )
  first.ack()
  assert.equal((await second).value.message, 2)
  await subscription.return()
})

test('a reader that reads nothing holds no more than its share', async (t) => {
  const { client } = await durable(t)
  const idle = client.subscribe('orders', { queue: 'q', start: 'first', maxInFlight: 4 })
  const busy = client.subscribe('orders', { queue: 'q', start: 'first' })
  await Promise.all([idle.ready(), busy.ready()])
  for (let id = 0; id < 100; id++) await client.publish('orders', id)
  const seen = new Set()
  while (seen.size < 96) {
    const { value } = await busy.next()
    seen.add(value.message)
    value.ack()
  }
  // The others are the idle one's, until it gives them up.
  await idle.return()
  while (seen.size < 100) {
    const { value } = await busy.next()
    seen.add(value.message)
    value.ack()
  }
  await busy.return()
})

test('two readers share a queue, and each without one has all', async (t) => {
  const { client } = await durable(t)
  const [a, b, all] = [{ queue: 'q' }, { queue: 'q' }, {}].map((options) => client.subscribe('orders', options))
  await Promise.all([a, b, all].map((subscription) => subscription.ready()))
  const shared = []
  const read = async (subscription) => {
    for await (const delivery of subscription) {
      shared.push(delivery.message)
      delivery.ack()
    }
  }
  const reading = [read(a), read(b)]
  for (let id = 0; id < 20; id++) await client.publish('orders', id)
  for (let id = 0; id < 20; id++) {
    const { value } = await all.next()
    assert.equal(value.message, id)
    value.ack()
  }
  await until(() => shared.length === 20)
  assert.equal(new Set(shared).size, 20)
  await Promise.all([a, b, all].map((subscription) => subscription.return()))
  await Promise.all(reading)
})

test('a signal ends a subscription, and gives up what it held', async (t) => {
  const { client } = await durable(t)
  await client.publish('orders', 1)
  const controller = new AbortController()
  const options = { queue: 'q', start: 'first' }
  const subscription = client.subscribe('orders', { ...options, signal: controller.signal })
  assert.equal((await subscription.next()).value.message, 1)
  const waits = subscription.next()
  controller.abort(new Error('enough'))
  await assert.rejects(waits, (error) => error instanceof errors.Cancelled && error.cause.message === 'enough')
  const [again] = await take(client, 'orders', 1, options)
  assert.deepEqual([again.message, again.attempt], [1, 2])
  assert.throws(() => client.subscribe('orders', { signal: AbortSignal.abort() }), errors.Cancelled)
})

test('closing the client ends its subscriptions', async (t) => {
  const { fleet, broker } = await durable(t)
  const client = fleet.newClient({ broker })
  const subscription = client.subscribe('orders')
  await subscription.ready()
  const waits = assert.rejects(subscription.next(), errors.Cancelled)
  client.close()
  await waits
  assert.throws(() => client.subscribe('orders'), errors.Closed)
  await assert.rejects(client.publish('orders', 1), errors.Closed)
})

test('disposing of a subscription ends it', async (t) => {
  const { client } = await durable(t)
  const subscription = client.subscribe('orders')
  await subscription.ready()
  const waits = subscription.next()
  await subscription[Symbol.asyncDispose]()
  assert.deepEqual(await waits, { done: true, value: undefined })
  assert.deepEqual(await subscription.next(), { done: true, value: undefined })
  await subscription.return()
  subscription.cancel()
})

test('publishing is given up when its signal is aborted', async (t) => {
  const fleet = fleetOf(t)
  const never = new Service('never', { grace: 100 })
  never.subscribe('orders', () => new Promise(() => undefined))
  await fleet.start(never)
  const signal = AbortSignal.timeout(50)
  await assert.rejects(fleet.client.publish('orders', 1, { signal }), errors.Cancelled)
  await assert.rejects(fleet.client.publish('orders', 1, { timeout: 50 }), errors.DeadlineExceeded)
})

test('what was read and forgotten is delivered again', async (t) => {
  const text = `
    import { receiveLogs } from '@micro/core'
    import { Fleet } from '@micro/core/testing'
    const fleet = new Fleet()
    const client = fleet.newClient({ broker: process.argv[2] })
    receiveLogs(({ message }) => console.log(message))
    await client.publish('orders', 1)
    const subscription = client.subscribe('orders', { queue: 'q', start: 'first' })
    await (async () => (await subscription.next()).value.message)()
    const again = subscription.next()
    let over = false
    again.then(() => { over = true })
    while (!over) {
      gc()
      await new Promise((soon) => setTimeout(soon, 5))
    }
    const { value } = await again
    console.log(value.message, value.attempt)
    value.ack()
    await fleet.close()
  `
  const run = await program(t, text, { args: [`durable://${await folder(t)}`], flags: ['--expose-gc'] })
  assert.match(await run.well(), /call ack, retry or reject\n1 2\n$/)
})

test('a subscription that is let go of ends', async (t) => {
  const text = `
    import { live } from '@micro/core'
    import { Fleet } from '@micro/core/testing'
    const fleet = new Fleet()
    const before = live(5)
    await (async () => fleet.client.subscribe('orders').ready())()
    console.log(live(5) - before)
    while (live(5) > before) {
      gc()
      await new Promise((soon) => setTimeout(soon, 5))
    }
    await fleet.close()
    console.log('ended')
  `
  const run = await program(t, text, { flags: ['--expose-gc'] })
  assert.equal(await run.well(), '1\nended\n')
})

test('nothing is left of subscriptions that have come and gone', async (t) => {
  const { client } = await durable(t)
  await client.publish('orders', 0)
  const before = live(5)
  for (let round = 0; round < 30; round++) {
    const subscription = client.subscribe('orders', { start: 'first' })
    await subscription.next()
    await (round % 2 ? subscription.return() : subscription[Symbol.asyncDispose]())
  }
  await until(() => live(5) === before)
})

const READER = `
  import { Client } from '@micro/core'
  const [broker, name] = process.argv.slice(2)
  const client = new Client({ broker, registry: 'memory://none', environment: false })
  const subscription = client.subscribe('orders', { queue: 'q', start: 'first', lease: '1s', maxInFlight: 4 })
  await subscription.ready()
  console.log('reads')
  for await (const delivery of subscription) {
    if (name === 'holds') {
      console.log('holds ' + delivery.message)
      continue
    }
    console.log('takes ' + delivery.message)
    delivery.ack()
  }
`

test('processes share a queue, and one that is killed is taken over', async (t) => {
  const { broker, client } = await durable(t)
  const holds = await program(t, READER, { args: [broker, 'holds'] })
  await holds.says('reads')
  const published = Array.from({ length: 20 }, (_, id) => id)
  for (const id of published.slice(0, 4)) await client.publish('orders', id)
  const held = () => [...holds.out.matchAll(/holds (\d+)/g)].map(([, id]) => Number(id))
  await until(() => held().length === 4, 'four that are held')
  const takes = await program(t, READER, { args: [broker, 'takes'] })
  await takes.says('reads')
  // Once each: an acknowledgement that the owner had not written down when it was killed is asked for again.
  const taken = () => [...new Set([...takes.out.matchAll(/takes (\d+)/g)].map(([, id]) => Number(id)))]
  for (const id of published.slice(4)) await client.publish('orders', id)
  await until(() => taken().length === 16, 'the others')
  holds.child.kill('SIGKILL')
  await until(() => taken().length === 20, 'what the killed one held')
  assert.deepEqual(
    taken().sort((a, b) => a - b),
    published,
  )
})

test('a message survives the process that has published it, also one that is killed', async (t) => {
  const broker = `durable://${await folder(t)}`
  const text = `
    import { Client } from '@micro/core'
    const client = new Client({ broker: process.argv[2], registry: 'memory://none', environment: false })
    await client.publish('orders', { id: 7 })
    process.kill(process.pid, 'SIGKILL')
  `
  const { signal } = await (await program(t, text, { args: [broker] })).end()
  assert.equal(signal, 'SIGKILL')
  const client = fleetOf(t).newClient({ broker })
  const [{ message }] = await take(client, 'orders', 1, { start: 'first' })
  assert.deepEqual(message, { id: 7 })
})

test('worker threads publish, subscribe, and end with what they have begun', async (t) => {
  const text = `
    import { Worker } from 'node:worker_threads'
    import { live } from '@micro/core'
    import { Fleet } from '@micro/core/testing'
    const fleet = new Fleet()
    const options = { ...fleet.options, broker: fleet.url }
    const code = \`
      const { parentPort, workerData } = require('node:worker_threads')
      const { Client, Service } = require('@micro/core')
      const client = new Client(workerData)
      const service = new Service('inside', { ...workerData, address: '127.0.0.1:0' })
      service.subscribe('orders', (order) => parentPort.postMessage('handled ' + order), { queue: 'q' })
      const taken = client.subscribe('copies', { queue: 'q' })
      Promise.all([service.start(), taken.ready()]).then(async () => {
        parentPort.postMessage('up')
        for await (const delivery of taken) {
          parentPort.postMessage('taken ' + delivery.message)
          delivery.ack()
        }
      })
    \`
    const before = live(6)
    for (let round = 0; round < 5; round++) {
      const said = []
      const worker = new Worker(code, { eval: true, workerData: options })
      worker.on('message', (text) => said.push(text))
      worker.on('error', (error) => console.log(error))
      while (!said.includes('up')) await new Promise((again) => setTimeout(again, 5))
      await fleet.client.publish('orders', round)
      await fleet.client.publish('copies', round)
      while (said.length < 3) await new Promise((again) => setTimeout(again, 5))
      console.log(said.slice(1).sort().join())
      await worker.terminate()
    }
    while (live(6) > before) await new Promise((again) => setTimeout(again, 5))
    await fleet.close()
  `
  const expected = Array.from({ length: 5 }, (_, n) => `handled ${n},taken ${n}\n`)
  assert.equal(await (await program(t, text)).well(), expected.join(''))
})

test('a program ends by itself once its subscriptions have, and a subscription keeps it alive', async (t) => {
  const broker = `durable://${await folder(t)}`
  const head = `
    import { Client } from '@micro/core'
    const client = new Client({ broker: process.argv[2], registry: 'memory://none', environment: false })
  `
  for (const text of [
    `${head} await client.publish('orders', 1)`,
    `${head} for await (const delivery of client.subscribe('orders', { start: 'first' })) { delivery.ack(); break }`,
    `${head} const taken = client.subscribe('orders', { start: 'first' }); await taken.next(); client.close()`,
    `${head} const taken = client.subscribe('orders'); await taken.ready(); setTimeout(() => taken.cancel(), 20)`,
  ]) {
    const begun = performance.now()
    await (await program(t, text, { args: [broker] })).well()
    assert(performance.now() - begun < 10_000, text)
  }
  const text = `${head} client.subscribe('more', { queue: 'q' }).next().then(({ value }) => { console.log(value.message); value.ack(); client.close() })`
  const waits = await program(t, `${text}; console.log('waits')`, { args: [broker] })
  await waits.says('waits')
  const client = fleetOf(t).newClient({ broker })
  const gone = promised()
  waits.child.on('exit', () => gone.resolve())
  while (!waits.out.includes('7')) {
    await client.publish('more', 7)
    await new Promise((again) => setTimeout(again, 20))
  }
  await gone.promise
  await waits.well()
})
