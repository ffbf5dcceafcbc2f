// Reads requests on a thread of its own, because a handler may block the event loop.
import { readSync } from 'node:fs'
import { workerData } from 'node:worker_threads'

const { arrivals, port } = workerData
const buffer = Buffer.alloc(64 * 1024)
let rest = Buffer.alloc(0)

function give(text) {
  port.postMessage(text)
  Atomics.add(arrivals, 0, 1)
  Atomics.notify(arrivals, 0)
}

for (;;) {
  let length = 0
  try {
    length = readSync(0, buffer, 0, buffer.length, null)
  } catch (error) {
    if (error.code === 'EAGAIN') continue
    if (error.code !== 'EOF') throw error
  }
  if (length === 0) break
  rest = Buffer.concat([rest, buffer.subarray(0, length)])
  for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
    give(rest.toString('utf8', 0, end))
    rest = rest.subarray(end + 1)
  }
}
give('exit')
