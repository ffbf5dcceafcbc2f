import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { errors, Service } from '@micro/core'
import { Fleet } from '@micro/core/testing'
import { program, promised, until } from './world.mjs'

const MIB = 1024 * 1024

async function numbers(t, build = () => undefined) {
  const fleet = new Fleet()
  t.after(() => fleet.close())
  const service = new Service('numbers')
  const seen = { sent: 0, received: 0, tidied: 0, reason: undefined }
  service.serverStream('Numbers.Count', async function* (to, context) {
    context.signal.addEventListener('abort', () => {
      seen.reason = context.signal.reason
    })
    try {
      for (let number = 1; number <= to; number++) {
        yield number
        seen.sent++
      }
    } finally {
      seen.tidied++
    }
  })
  service.serverStream('Numbers.Large', async function* ({ count, size }) {
    for (let left = count; left > 0; left--) {
      yield Buffer.alloc(size).toString('latin1')
      seen.sent++
    }
  })
  service.clientStream('Numbers.Sum', async (numbers) => {
    let sum = 0
    for await (const number of numbers) {
      seen.received++
      sum += number
    }
    return sum
  })
  service.bidiStream('Numbers.Double', async function* (numbers) {
    for await (const number of numbers) yield number * 2
  })
  service.bidiStream('Numbers.Fail', async function* (numbers, context) {
    context.setTrailer('x-tail', 'end')
    for await (const number of numbers) {
      if (number === 3) throw new errors.OutOfRange('three is too much')
      yield number
    }
  })
  build(service, seen)
  await fleet.start(service)
  return { fleet, client: fleet.client, seen, service }
}

async function all(stream) {
  const out = []
  for await (const value of stream) out.push(value)
  return out
}

test('streams go every way', async (t) => {
  const { client } = await numbers(t)
  assert.deepEqual(await all(client.serverStream('numbers', 'Numbers.Count', 3)), [1, 2, 3])
  assert.deepEqual(await all(client.serverStream('numbers', 'Numbers.Count', 0)), [])
  assert.equal(await client.clientStream('numbers', 'Numbers.Sum', [1, 2, 3]), 6)
  assert.equal(await client.clientStream('numbers', 'Numbers.Sum', []), 0)
  async function* later() {
    for (let number = 1; number <= 1000; number++) yield number
  }
  assert.equal(await client.clientStream('numbers', 'Numbers.Sum', later()), 500_500)
  const doubled = await all(client.bidiStream('numbers', 'Numbers.Double', later()))
  assert.deepEqual([doubled.length, doubled[999]], [1000, 2000])
})

test('messages are sent and read in turn', async (t) => {
  const { client } = await numbers(t)
  const stream = client.bidiStream('numbers', 'Numbers.Double')
  for (const number of [1, 5, 7]) {
    await stream.send(number)
    assert.deepEqual(await stream.next(), { done: false, value: number * 2 })
  }
  stream.end()
  stream.end()
  assert.equal((await stream.next()).done, true)
  assert.equal((await stream.next()).done, true)
  await assert.rejects(stream.send(1), errors.MicroError)
})

test('a stream fails after what it sent, with its trailers', async (t) => {
  const { client } = await numbers(t)
  const stream = client.bidiStream('numbers', 'Numbers.Fail', [1, 2, 3, 4])
  assert.equal((await stream.next()).value, 1)
  assert.equal((await stream.next()).value, 2)
  await assert.rejects(
    stream.next(),
    (error) => error instanceof errors.OutOfRange && error.detail === 'three is too much',
  )
  assert.equal(stream.trailers.get('x-tail'), 'end')
})

test('requests that go wrong end the stream with what went wrong', async (t) => {
  const { client } = await numbers(t)
  async function* broken() {
    yield 1
    throw new Error('out of numbers')
  }
  await assert.rejects(client.clientStream('numbers', 'Numbers.Sum', broken()), /out of numbers/)
  await assert.rejects(client.clientStream('numbers', 'Numbers.Sum', [1, 2n]), /a request is bigint/)
})

test('leaving the loop ends the stream on both sides', async (t) => {
  const { client, seen } = await numbers(t)
  for await (const number of client.serverStream('numbers', 'Numbers.Count', Number.MAX_SAFE_INTEGER)) {
    if (number === 10) break
  }
  await until(() => seen.tidied === 1 && seen.reason instanceof errors.Cancelled, 'the end of the handler')
})

test('aborting a stream ends it with the reason, and the handler is told', async (t) => {
  const { client, seen } = await numbers(t)
  const abort = new AbortController()
  const options = { signal: abort.signal }
  const stream = client.serverStream('numbers', 'Numbers.Count', Number.MAX_SAFE_INTEGER, options)
  await stream.next()
  abort.abort(new Error('enough'))
  await assert.rejects(all(stream), (error) => error instanceof errors.Cancelled && error.cause.message === 'enough')
  await until(() => seen.tidied === 1)
  assert.throws(() => client.serverStream('numbers', 'Numbers.Count', 1, options), errors.Cancelled)
})

test('a consumer that stops reading holds up its sender, not the program', async (t) => {
  const { client, seen } = await numbers(t)
  const size = 64 * 1024
  const stream = client.serverStream('numbers', 'Numbers.Large', { count: 1000, size })
  await stream.next()
  let before = -1
  await until(async () => {
    const same = seen.sent === before
    before = seen.sent
    await sleep(200)
    return same
  }, 'a sender that waits')
  assert(seen.sent * size < 16 * MIB, `${seen.sent} messages are on their way`)
  assert.equal((await all(client.serverStream('numbers', 'Numbers.Count', 100))).length, 100)
  assert.equal((await all(stream)).length, 999)
})

test('a handler that does not read holds up its caller', async (t) => {
  const go = promised()
  const { client } = await numbers(t, (service) =>
    service.clientStream('Numbers.Late', async (requests) => {
      await go.promise
      let count = 0
      for await (const _ of requests) count++
      return count
    }),
  )
  const stream = client.clientStream('numbers', 'Numbers.Late')
  const message = 'x'.repeat(64 * 1024)
  let sent = 0
  const sending = (async () => {
    for (; sent < 1000; sent++) await stream.send(message)
    stream.end()
  })()
  let before = -1
  await until(async () => {
    const same = sent === before
    before = sent
    await sleep(200)
    return same
  }, 'a caller that waits')
  assert(sent < 500, `${sent} messages were taken`)
  go.resolve()
  await sending
  assert.equal(await stream, 1000)
})

test('a handler that answers early ends the stream of its caller', async (t) => {
  const { client } = await numbers(t, (service) => service.clientStream('Numbers.Early', async () => 'enough'))
  const stream = client.clientStream('numbers', 'Numbers.Early')
  assert.equal(await stream, 'enough')
})

test('a handler that gives no stream is told so', async (t) => {
  const { client } = await numbers(t, (service) => {
    service.serverStream('Numbers.None', () => 7)
    service.serverStream('Numbers.List', () => [1, 2])
    service.serverStream('Numbers.Wrong', async function* () {
      yield 1
      yield 2n
    })
  })
  await assert.rejects(all(client.serverStream('numbers', 'Numbers.None')), /async function\*/)
  assert.deepEqual(await all(client.serverStream('numbers', 'Numbers.List')), [1, 2])
  await assert.rejects(all(client.serverStream('numbers', 'Numbers.Wrong')), /Numbers.Wrong yielded is bigint/)
})

test('a stream that is let go of is cancelled', async (t) => {
  const text = `
    import { Service } from '@micro/core'
    import { Fleet } from '@micro/core/testing'
    const fleet = new Fleet()
    const service = new Service('numbers')
    let tidied = false
    service.serverStream('Numbers.Count', async function* () {
      try { for (let n = 0; ; n++) yield n } finally { tidied = true }
    })
    await fleet.start(service)
    async function read() {
      const stream = fleet.client.serverStream('numbers', 'Numbers.Count')
      await stream.next()
    }
    await read()
    for (let round = 0; !tidied && round < 500; round++) {
      globalThis.gc()
      await new Promise((again) => setTimeout(again, 10))
    }
    console.log(tidied)
    await fleet.close()
  `
  const run = await program(t, text, { flags: ['--expose-gc'] })
  assert.equal(await run.well(), 'true\n')
})
