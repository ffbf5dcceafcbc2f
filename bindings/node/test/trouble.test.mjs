import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { errors, live, MicroError, receiveLogs, Service } from '@micro/core'
import { Fleet } from '@micro/core/testing'
import { PATIENCE, program, promised, until } from './world.mjs'

/** Kinds of things that are counted. */
const OPERATIONS = 5
const CALLS = 6

async function fleetOf(t, build, options = {}) {
  const fleet = new Fleet()
  t.after(() => fleet.close())
  const service = new Service('trouble', options)
  build(service)
  await fleet.start(service)
  return { fleet, service, client: fleet.client }
}

/** What is logged while a test runs. */
function logged(t) {
  const records = []
  receiveLogs((record) => records.push(record))
  t.after(() => receiveLogs(() => undefined))
  return records
}

for (const [how, handler] of [
  [
    'throws',
    () => {
      throw new Error('secret')
    },
  ],
  [
    'rejects',
    async () => {
      throw new Error('secret')
    },
  ],
  ['rejects with nothing', () => Promise.reject()],
  [
    'throws text',
    () => {
      throw 'secret'
    },
  ],
]) {
  test(`a handler that ${how} is internal, and only the log says why`, async (t) => {
    const records = logged(t)
    const { client } = await fleetOf(t, (service) =>
      service.handle('Trouble.Make', handler).handle('Trouble.No', () => 'fine'),
    )
    await assert.rejects(client.call('trouble', 'Trouble.Make'), (error) => {
      assert(error instanceof errors.Internal && error.isRemote)
      assert(!String(error).includes('secret'), String(error))
      return true
    })
    assert(records.some(({ level, message }) => level === 'error' && message.includes('Trouble.Make')))
    assert.equal(await client.call('trouble', 'Trouble.No'), 'fine')
  })
}

test('a handler that throws one of the errors is understood by its caller', async (t) => {
  const { client } = await fleetOf(t, (service) => {
    for (const [name, kind] of Object.entries(errors)) {
      if (typeof kind !== 'function' || !kind.code) continue
      service.handle(`Trouble.${name}`, async () => {
        throw new kind(`detail of ${name}`, {
          id: 'trouble',
          details: [{ typeUrl: 'a/test.B', value: Buffer.from(name) }],
        })
      })
    }
    service.handle('Trouble.Http', async () => {
      throw new MicroError('gone', { id: 'users', http: 410 })
    })
  })
  const remote = Object.entries(errors).filter(
    ([, kind]) => kind.code && !(kind.prototype instanceof errors.LocalError),
  )
  assert.equal(remote.length, 16)
  for (const [name, kind] of remote) {
    await assert.rejects(client.call('trouble', `Trouble.${name}`, {}, { retries: 0 }), (error) => {
      assert.equal(error.constructor, kind)
      assert.deepEqual(
        [error.code, error.id, error.detail, error.name],
        [kind.code, 'trouble', `detail of ${name}`, name],
      )
      assert.deepEqual(error.details, [{ typeUrl: 'a/test.B', value: Buffer.from(name) }])
      assert(error instanceof Error && error.endpoint === `Trouble.${name}`)
      return true
    })
  }
  await assert.rejects(client.call('trouble', 'Trouble.Http'), { http: 410, id: 'users', detail: 'gone' })
  // A mistake of the handler's own is not its caller's.
  await assert.rejects(client.call('trouble', 'Trouble.WrongArgument'), errors.Internal)
})

for (const [what, reply] of [
  ['a bigint', 7n],
  ['a function', () => 1],
  ['a symbol', Symbol('x')],
  ['a circle', circle()],
]) {
  test(`a handler that returns ${what} is internal, and the caller is told what to give`, async (t) => {
    const { client } = await fleetOf(t, (service) => service.handle('Trouble.Make', () => reply))
    await assert.rejects(client.call('trouble', 'Trouble.Make'), (error) => {
      assert(error instanceof errors.Internal)
      assert.match(error.detail, /what Trouble.Make returned is/)
      return true
    })
  })
}

function circle() {
  const one = {}
  one.self = one
  return one
}

test('a request that is no JSON never reaches the handler', async (t) => {
  const { client } = await fleetOf(t, (service) => service.handle('Trouble.Echo', (request) => request))
  await assert.rejects(client.call('trouble', 'Trouble.Echo', 7n), errors.WrongArgument)
  await assert.rejects(client.call('trouble', 'Trouble.Echo', Buffer.from('{'), { codec: 'json' }), (error) => {
    assert(error instanceof errors.InvalidArgument)
    assert.match(error.detail, /the request of Trouble.Echo cannot be read as json/)
    return true
  })
})

test('a handler that never settles is over for its caller at the deadline, and holds nothing', async (t) => {
  const { client } = await fleetOf(t, (service) => service.handle('Trouble.Never', () => new Promise(() => undefined)))
  const before = live(CALLS)
  await assert.rejects(client.call('trouble', 'Trouble.Never', {}, { timeout: 50 }), errors.DeadlineExceeded)
  await until(() => live(CALLS) === before, 'the end of the call')
})

test('a call that is aborted before it was made is not made', async (t) => {
  let calls = 0
  const { client } = await fleetOf(t, (service) => service.handle('Trouble.Count', () => ++calls))
  const reason = new Error('changed my mind')
  await assert.rejects(client.call('trouble', 'Trouble.Count', {}, { signal: AbortSignal.abort(reason) }), (error) => {
    assert(error instanceof errors.Cancelled && error.cause === reason)
    return true
  })
  await client.call('trouble', 'Trouble.Count')
  assert.equal(calls, 1)
})

test('a call that is aborted while it is served is over on both sides', async (t) => {
  const [held, over] = [promised(), promised()]
  const { client } = await fleetOf(t, (service) =>
    service.handle('Trouble.Hold', async (_, context) => {
      context.signal.addEventListener('abort', () => over.resolve(context.cancelled))
      held.resolve()
      await sleep(60_000, undefined, { signal: context.signal })
    }),
  )
  const abort = new AbortController()
  const call = client.call('trouble', 'Trouble.Hold', {}, { signal: abort.signal, timeout: Infinity })
  await held.promise
  abort.abort()
  await assert.rejects(call, (error) => error instanceof errors.Cancelled && error.cause.name === 'AbortError')
  assert.equal(await over.promise, true)
})

test('a call that is aborted after it was answered is answered, and leaves no listener behind', async (t) => {
  const { client } = await fleetOf(t, (service) => service.handle('Trouble.Hello', () => 'hello'))
  const abort = new AbortController()
  let listeners = 0
  const { signal } = abort
  const [add, remove] = [signal.addEventListener, signal.removeEventListener]
  signal.addEventListener = (...args) => {
    listeners++
    add.apply(signal, args)
  }
  signal.removeEventListener = (...args) => {
    listeners--
    remove.apply(signal, args)
  }
  for (let n = 0; n < 20; n++) assert.equal(await client.call('trouble', 'Trouble.Hello', {}, { signal }), 'hello')
  assert.equal(listeners, 0)
  abort.abort()
})

test('an aborted signal of a timeout is the cause', async (t) => {
  const { client } = await fleetOf(t, (service) => service.handle('Trouble.Never', () => new Promise(() => undefined)))
  const call = client.call('trouble', 'Trouble.Never', {}, { signal: AbortSignal.timeout(20), timeout: Infinity })
  await assert.rejects(call, (error) => error.cause.name === 'TimeoutError')
})

test('ten thousand calls under way are all told when the client is closed', async (t) => {
  const { fleet } = await fleetOf(t, (service) => service.handle('Trouble.Never', () => new Promise(() => undefined)))
  const before = live(OPERATIONS)
  const client = fleet.newClient({ maxInFlight: 20_000 })
  const calls = Array.from({ length: 10_000 }, () => client.call('trouble', 'Trouble.Never', {}, { timeout: Infinity }))
  await until(() => live(CALLS) > 100)
  client.close()
  const ended = await Promise.allSettled(calls)
  assert(
    ended.every(({ reason }) => reason instanceof errors.Cancelled),
    'not all were cancelled',
  )
  await until(() => live(OPERATIONS) <= before && live(CALLS) === 0, 'the end of all')
})

test('more calls than may be under way at once wait for their turn', async (t) => {
  let [running, most] = [0, 0]
  const { fleet } = await fleetOf(t, (service) =>
    service.handle('Trouble.Slow', async () => {
      most = Math.max(most, ++running)
      await sleep(1)
      running--
    }),
  )
  const client = fleet.newClient({ maxInFlight: 5 })
  await Promise.all(Array.from({ length: 100 }, () => client.call('trouble', 'Trouble.Slow')))
  assert(most <= 5, `${most} ran at once`)
})

test('an event loop that is blocked for a second answers what still waits, and not what is too late', async (t) => {
  let began = 0
  const { fleet } = await fleetOf(t, (service) => service.handle('Trouble.Work', () => ++began))
  const client = fleet.newClient()
  await client.call('trouble', 'Trouble.Work')
  began = 0
  const call = (timeout) => client.call('trouble', 'Trouble.Work', {}, { timeout, retries: 0 })
  const [patient, hasty] = [Array.from({ length: 50 }, () => call(20_000)), Array.from({ length: 50 }, () => call(300))]
  // They are on their way before the loop stands still.
  await until(() => live(CALLS) > 0 || began > 0)
  const end = performance.now() + 1000
  while (performance.now() < end);
  const ended = await Promise.allSettled(hasty)
  await Promise.all(patient)
  assert(ended.every(({ status, reason }) => status === 'fulfilled' || reason instanceof errors.DeadlineExceeded))
})

test('a client that is let go of without a close is collected, with nothing left behind', async (t) => {
  const text = `
    import { Client, live, Service } from '@micro/core'
    import { Fleet } from '@micro/core/testing'
    const fleet = new Fleet()
    const service = new Service('trouble').handle('Trouble.Hello', () => 'hello')
    await fleet.start(service)
    const before = live(3)
    async function use() {
      for (let n = 0; n < 50; n++) await new Client(fleet.options).call('trouble', 'Trouble.Hello')
    }
    await use()
    for (let round = 0; live(3) > before && round < 500; round++) {
      globalThis.gc()
      await new Promise((again) => setTimeout(again, 10))
    }
    console.log(live(3) <= before)
    await fleet.close()
  `
  const run = await program(t, text, { flags: ['--expose-gc'] })
  assert.equal(await run.well(), 'true\n')
})

test('calls, with aborts and failures among them, leave memory flat', async (t) => {
  const count = Number(process.env.MICRO_CALLS ?? 30_000)
  const text = `
    import { Client, live, Service } from '@micro/core'
    import { Fleet } from '@micro/core/testing'
    const fleet = new Fleet()
    const service = new Service('trouble')
    service.handle('Trouble.Echo', async (request) => request)
    service.handle('Trouble.Fail', async () => { throw new (await import('@micro/core')).errors.Aborted('no') })
    await fleet.start(service)
    const { client } = fleet
    const payload = { text: 'x'.repeat(500) }
    async function work(calls) {
      while (calls-- > 0) {
        if (calls % 10 === 3) {
          const abort = new AbortController()
          const call = client.call('trouble', 'Trouble.Echo', payload, { signal: abort.signal })
          if (calls % 20 === 3) abort.abort()
          else setImmediate(() => abort.abort())
          await call.catch(() => undefined)
        } else if (calls % 10 === 5) {
          await client.call('trouble', 'Trouble.Fail', payload, { retries: 0 }).catch(() => undefined)
        } else {
          await client.call('trouble', 'Trouble.Echo', payload, { metadata: { tenant: 'blue' } })
        }
      }
    }
    const many = (calls) => Promise.all(Array.from({ length: 32 }, () => work(Math.ceil(calls / 32))))
    const used = () => {
      globalThis.gc()
      const { rss, heapUsed, external } = process.memoryUsage()
      return { rss, heapUsed, external }
    }
    await many(${Math.max(5_000, count / 10)})
    const before = used()
    await many(${count})
    const after = used()
    const grown = Object.fromEntries(Object.keys(before).map((name) => [name, (after[name] - before[name]) / 1048576]))
    console.log(JSON.stringify({ ...grown, operations: live(5), calls: live(6) }))
    await fleet.close()
  `
  const run = await program(t, text, { flags: ['--expose-gc'] })
  const { rss, heapUsed, external, operations, calls } = JSON.parse(await run.well(PATIENCE + count))
  t.diagnostic(
    `${count} calls: rss ${rss.toFixed(1)} MiB, heap ${heapUsed.toFixed(1)} MiB, external ${external.toFixed(1)} MiB`,
  )
  assert(heapUsed < 4 && external < 4 && rss < 48, `memory grows: ${rss} ${heapUsed} ${external}`)
  assert.deepEqual({ operations: operations <= 1, calls }, { operations: true, calls: 0 })
})
