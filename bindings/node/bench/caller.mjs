// Clients that are measured: `node caller.mjs KIND --address ADDRESS call|stream --concurrency N --size BYTES`. KIND is `micro`
// or `grpc`, which is @grpc/grpc-js. For as many milliseconds as each line of standard input says, it keeps calls in flight, or
// reads streams, compares every reply with what it asked for, and prints a line of figures.
import assert from 'node:assert/strict'
import { performance } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'

/** Messages of one stream. */
const STREAM = 2000

/** A `bench.Payload` of `size` bytes. */
function payload(size) {
  const length = []
  let left = size
  for (; left >= 0x80; left >>= 7) length.push((left & 0x7f) | 0x80)
  return Buffer.concat([Buffer.from([0x0a, ...length, left]), Buffer.alloc(size, 'x')])
}

async function micro(address, message) {
  const { Client } = await import('@micro/core')
  const client = new Client({ addresses: [address] })
  const count = Buffer.from(String(STREAM))
  return {
    call: () => client.call('bench', 'Echo.Call', message),
    stream: () => client.serverStream('bench', 'Echo.Stream', count),
  }
}

async function grpc(address, message) {
  const { Client, credentials } = await import('@grpc/grpc-js')
  const client = new Client(address, credentials.createInsecure())
  const same = (bytes) => bytes
  const count = Buffer.from(String(STREAM))
  return {
    call: () =>
      new Promise((done, failed) => {
        const told = (error, reply) => (error ? failed(error) : done(reply))
        client.makeUnaryRequest('/bench.Echo/Call', same, same, message, told)
      }),
    stream: () => client.makeServerStreamRequest('/bench.Echo/Stream', same, same, count),
  }
}

async function calls({ call }, message, inFlight, ms) {
  const times = []
  const until = performance.now() + ms
  const work = async () => {
    for (let begun = performance.now(); begun < until; begun = performance.now()) {
      const reply = await call()
      assert(message.equals(reply))
      times.push(performance.now() - begun)
    }
  }
  await Promise.all(Array.from({ length: inFlight }, work))
  times.sort((one, other) => one - other)
  return [times.length, times[Math.floor(times.length / 2)] ?? 0]
}

async function streams({ stream }, inFlight, ms) {
  const until = performance.now() + ms
  let read = 0
  const work = async () => {
    while (performance.now() < until) {
      let got = 0
      for await (const _ of stream()) got++
      assert.equal(got, STREAM)
      read += got
    }
  }
  await Promise.all(Array.from({ length: inFlight }, work))
  return [read, 0]
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { address: { type: 'string' }, concurrency: { type: 'string' }, size: { type: 'string' } },
})
const [kind, shape] = positionals
const [inFlight, message] = [Number(values.concurrency ?? 1), payload(Number(values.size ?? 64))]
const client = await { micro, grpc }[kind](values.address, message)
for await (const line of createInterface({ input: process.stdin })) {
  const begun = performance.now()
  const ms = Number(line)
  const work = shape === 'call' ? calls(client, message, inFlight, ms) : streams(client, inFlight, ms)
  const [completed, median] = await work
  const rate = completed / ((performance.now() - begun) / 1000)
  console.log(JSON.stringify({ completed, rate, p50_us: median * 1000 }))
}
process.exit(0)
