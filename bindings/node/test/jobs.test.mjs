import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { context, errors, JobContext, receiveLogs, Service } from '@micro/core'
import { fleetOf, folder, promised, ROOT } from './world.mjs'

/** A fleet, and the URL of a durable broker, for one test. */
async function durable(t) {
  const fleet = fleetOf(t)
  const broker = `durable://${await folder(t)}`
  return { fleet, broker, client: fleet.newClient({ broker }) }
}

/** What handlers were given, one after the other. */
function seen() {
  const had = []
  const waiting = []
  return {
    tell: (what) => (waiting.length > 0 ? waiting.shift().resolve(what) : had.push(what)),
    next: async () => {
      if (had.length > 0) return had.shift()
      const wanted = promised()
      waiting.push(wanted)
      return await wanted.promise
    },
  }
}

/** A program of its own, and the lines that it says. */
function program(t, code, ...args) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', code, ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const said = seen()
  createInterface({ input: child.stdout }).on('line', said.tell)
  t.after(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  })
  return { child, next: said.next }
}

receiveLogs(() => undefined)

test('a job runs, is tried again, and its runs are told', async (t) => {
  const { fleet, broker } = await durable(t)
  const service = new Service('shop', { broker, grace: 0 })
  const told = seen()
  service.every(
    1000,
    async (own) => {
      told.tell({
        job: own.job,
        time: own.time,
        attempt: own.attempt,
        own: context() === own && own instanceof JobContext,
      })
      if (own.attempt === 1) throw new errors.FailedPrecondition('the disk is full')
      await once(own.signal, 'abort')
    },
    { name: 'clean', maxAttempts: 2, backoff: 'none' },
  )
  await fleet.start(service)
  const [first, second] = [await told.next(), await told.next()]
  assert.deepEqual([first.job, first.attempt, first.own, second.attempt], ['clean', 1, true, 2])
  assert.equal(Number(second.time), Number(first.time))
  const [job] = await service.jobs()
  assert.deepEqual([job.name, job.schedule, job.scope], ['clean', 'every 1s', 'fleet'])
  assert(job.next > first.time)
  const [failed, running] = job.runs
  assert.deepEqual([failed.attempt, failed.outcome, failed.node], [1, 'failed', service.record.nodes[0].id])
  assert.match(failed.error, /the disk is full/)
  assert.deepEqual(running, {
    time: first.time,
    attempt: 2,
    node: failed.node,
    began: running.began,
    took: undefined,
    outcome: 'running',
    error: undefined,
  })
})

test('plain functions are jobs too, with middleware around messages, and retry: false ends their attempts', async (t) => {
  const { fleet, broker } = await durable(t)
  const service = new Service('shop', { broker })
  const told = seen()
  service.useForMessages(async (own, next) => {
    told.tell(`before ${own.attempt}`)
    await next()
  })
  service.cron(
    '* * * * * *',
    () => {
      throw new errors.NotFound('never', { retry: false })
    },
    { maxAttempts: 5, backoff: 'none', zone: 'Europe/Berlin', scope: 'node' },
  )
  await fleet.start(service)
  assert.deepEqual([await told.next(), await told.next()], ['before 1', 'before 1'])
  const [job] = await service.jobs()
  assert.deepEqual([job.name, job.scope, job.runs[0].outcome], ['cron-x-x-x-x-x-x', 'node', 'failed'])
})

test('what is wrong with a job is said where it is written, or at the start', async (t) => {
  const { fleet, broker } = await durable(t)
  const nothing = () => undefined
  assert.throws(() => new Service('shop').every('5m', 7), /the job 5m is number: give a function/)
  const refused = async (service, hint) => await assert.rejects(fleet.start(service), hint)
  await refused(
    new Service('shop', { broker: 'memory://nothing-kept' }).every('5m', nothing, { name: 'clean' }),
    /the job "clean" is to run once in a fleet.*durable:/,
  )
  await refused(new Service('shop', { broker }).every('5m', nothing, { missed: 'twice' }), /skip/)
  await refused(new Service('shop', { broker }).every('5m', nothing, { scop: 'node' }), /did you mean `scope`/)
  await refused(new Service('shop', { broker }).cron('99 3 * * *', nothing), /99/)
})

const WORKER = `
import { Service } from '@micro/core'
const [broker, how] = process.argv.slice(1)
const service = new Service('shop', { registry: 'memory://alone', address: '127.0.0.1:0', broker, quiet: true })
service.task('resize', (name) => 'small ' + name)
if (how !== 'tasks') {
  service.every('1s', async (context) => {
    console.log(context.time.getTime(), context.attempt)
    if (how === 'hangs') await new Promise((resolve) => context.signal.addEventListener('abort', resolve))
  }, { name: 'tick', missed: 100 })
}
await service.run()
`

test('a run is one node’s, and another’s when that is killed', async (t) => {
  const { broker, client } = await durable(t)
  // Owned by this process, so that the one that is killed is a node.
  await client.publish('others', 0)
  const hanging = program(t, WORKER, broker, 'hangs')
  const [time, attempt] = (await hanging.next()).split(' ').map(Number)
  assert.equal(attempt, 1)
  const other = program(t, WORKER, broker, 'goes on')
  hanging.child.kill('SIGKILL')
  assert.equal(await other.next(), `${time} 2`)
  for (const after of [1000, 2000, 3000]) assert.equal(await other.next(), `${time + after} 1`)
})

test('the answer of a task is asked for in another process', async (t) => {
  const { broker, client } = await durable(t)
  const id = await client.task('resize', 'cat.png', { key: 'cat', metadata: { tenant: 'blue' } })
  assert.equal((await client.taskState(id)).state, 'queued')
  await assert.rejects(client.taskResult(id, { timeout: 100 }), errors.DeadlineExceeded)
  const worker = program(t, WORKER, broker, 'tasks')
  assert.equal(await client.taskResult(id, { timeout: 30_000 }), 'small cat.png')
  worker.child.kill('SIGKILL')
  // It is there although its worker is gone.
  assert.equal(await client.taskResult(id), 'small cat.png')
  assert.equal((await client.taskState(id)).state, 'done')
})

test('a task that fails is tried again, and given up with its reason', async (t) => {
  const { fleet, broker } = await durable(t)
  const [told, goOn] = [seen(), promised()]
  const service = new Service('images', { broker })
  service.task(
    'resize',
    async ({ name }, { attempt }) => {
      if (name === 'dog.png') return { name: `small ${name}` }
      told.tell(attempt)
      await goOn.promise
      throw new errors.FailedPrecondition('this is no cat')
    },
    { maxAttempts: 2, backoff: 'none' },
  )
  await fleet.start(service)
  const { client } = service
  const cat = await client.task('resize', { name: 'cat.png' })
  assert.equal(await told.next(), 1)
  assert.deepEqual(await client.taskState(cat), {
    state: 'running',
    attempt: 1,
    node: service.record.nodes[0].id,
    error: undefined,
  })
  goOn.resolve()
  assert.equal(await told.next(), 2)
  await assert.rejects(client.taskResult(cat), /this is no cat/)
  const dead = await client.taskState(cat)
  assert.equal(dead.state, 'dead')
  assert(dead.error instanceof errors.Aborted)
  const dog = await client.task('resize', { name: 'dog.png' })
  assert.deepEqual(await client.taskResult(dog), { name: 'small dog.png' })
  await assert.rejects(client.taskResult('7'), errors.InvalidArgument)
  const forgetful = fleet.newClient({ broker: 'memory://nothing-kept' })
  await assert.rejects(forgetful.task('resize', 7), /durable:/)
})

test('a function serves one message, and ends', async (t) => {
  const { broker, client } = await durable(t)
  await client.publish('images', 'cat.png')
  const alone = program(
    t,
    `
import { Service } from '@micro/core'
const images = new Service('images', { registry: 'memory://alone', address: '127.0.0.1:0', broker: process.argv[1], quiet: true })
images.subscribe('images', (name) => { console.log(name); throw new TypeError('no image') }, { queue: 'q', start: 'first' })
await images.runOnce()
console.log('over')
`,
    broker,
  )
  assert.deepEqual([await alone.next(), await alone.next()], ['cat.png', 'over'])
})

test('an event of CloudEvents is read as it was published', async (t) => {
  const { client } = await durable(t)
  const event = {
    source: '/shop/Köln',
    type: 'placed',
    id: '7',
    subject: 'a b',
    time: new Date(1709210096007),
    attributes: { dataschema: 'https://example.com/order' },
  }
  const orders = client.subscribe('orders')
  await orders.ready()
  const next = async () => {
    const { value } = await orders.next()
    value.ack()
    return value
  }
  await client.publish('orders', 7, { cloudEvent: event })
  const delivery = await next()
  assert.equal(delivery.metadata.get('ce-source'), '/shop/K%C3%B6ln')
  assert.deepEqual(delivery.cloudEvent, event)
  await client.publish('orders', 7, { id: 'order-7', cloudEvent: { source: '/shop', type: 'placed' } })
  const told = (await next()).cloudEvent
  assert(told.id === 'order-7' && told.time instanceof Date)
  await client.publish('orders', 7)
  assert.equal((await next()).cloudEvent, undefined)
  await client.publish('orders', 7, { metadata: { 'ce-specversion': '1.0', 'ce-id': '7' } })
  const wrong = await next()
  assert.throws(() => wrong.cloudEvent, /no header ce-source/)
  await orders.return()
  await assert.rejects(
    client.publish('orders', 7, { cloudEvent: { source: '', type: 'placed' } }),
    errors.InvalidArgument,
  )
})
