// Messages that are measured: `node messages.mjs KIND --at WHERE call|stream --concurrency N --size BYTES`. KIND is `micro`, WHERE
// the URL of a broker; or `nats`, the @nats-io packages with JetStream at `host:port`. For as many milliseconds as each line of
// standard input says, it publishes with N messages in flight, each acknowledged; `stream` also takes each of them and
// acknowledges it.
import assert from 'node:assert/strict'
import { performance } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'

const TOPIC = 'bench'
/** Messages that are taken and not acknowledged yet. */
const IN_FLIGHT = 256

async function micro(url) {
  const { Client } = await import('@micro/core')
  const client = new Client({ broker: url })
  return {
    publish: (body) => client.publish(TOPIC, body),
    async take(taken) {
      const options = { queue: 'bench', start: 'first', maxInFlight: IN_FLIGHT }
      for await (const delivery of client.subscribe(TOPIC, options)) {
        taken(delivery.message)
        delivery.ack()
      }
    },
  }
}

async function nats(address) {
  const { connect } = await import('@nats-io/transport-node')
  const { jetstream, jetstreamManager, AckPolicy } = await import('@nats-io/jetstream')
  const connection = await connect({ servers: address })
  const manager = await jetstreamManager(connection)
  await manager.streams.add({ name: TOPIC, subjects: [TOPIC], max_bytes: 2 ** 30 })
  const stream = jetstream(connection)
  return {
    publish: (body) => stream.publish(TOPIC, body),
    async take(taken) {
      const config = { durable_name: 'bench', ack_policy: AckPolicy.Explicit, max_ack_pending: IN_FLIGHT }
      await manager.consumers.add(TOPIC, config)
      const consumer = await stream.consumers.get(TOPIC, 'bench')
      for await (const message of await consumer.consume({ max_messages: IN_FLIGHT })) {
        taken(message.data)
        message.ack()
      }
    },
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { at: { type: 'string' }, concurrency: { type: 'string' }, size: { type: 'string' } },
})
const [kind, shape] = positionals
const [inFlight, body] = [Number(values.concurrency ?? 1), Buffer.alloc(Number(values.size ?? 64), 'x')]
const { publish, take } = await { micro, nats }[kind](values.at)
let [published, taken] = [0, 0]
let allTaken = () => {}
if (shape === 'stream') {
  const took = (message) => {
    assert(body.equals(message))
    taken++
    if (taken >= published) allTaken()
  }
  take(took).catch((error) => {
    console.error(error)
    process.exit(1)
  })
}

async function work(until) {
  while (performance.now() < until) {
    published++
    await publish(body)
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const [begun, before] = [performance.now(), published]
  const until = begun + Number(line)
  await Promise.all(Array.from({ length: inFlight }, () => work(until)))
  if (shape === 'stream' && taken < published) {
    await new Promise((done) => {
      allTaken = done
    })
  }
  const completed = published - before
  const rate = completed / ((performance.now() - begun) / 1000)
  console.log(JSON.stringify({ completed, rate, p50_us: 0 }))
}
process.exit(0)
