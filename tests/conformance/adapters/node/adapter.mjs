// The adapter of Node: one program for both roles. `../../README.md` says what it is told and answers.
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads'
import { Client } from './client.mjs'
import { Line, tell } from './line.mjs'
import { Server } from './server.mjs'

const arrivals = new Int32Array(new SharedArrayBuffer(4))
const backlog = []
const part = process.argv.at(-1) === 'server' ? new Server(waitFor) : new Client()
const { port1: reader, port2: port } = new MessageChannel()
new Worker(new URL('./reader.mjs', import.meta.url), { workerData: { arrivals, port }, transferList: [port] })

function take(text) {
  const line = new Line(text)
  // Whatever is still running ends with the process.
  if (line.verb === 'exit') process.exit(0)
  part.do(line)
}

/** Blocks until `isThere`, which requests that must not wait for this make true. The others wait. */
function waitFor(isThere) {
  while (!isThere()) {
    const seen = Atomics.load(arrivals, 0)
    let told = receiveMessageOnPort(reader)
    if (told === undefined) Atomics.wait(arrivals, 0, seen)
    for (; told !== undefined; told = receiveMessageOnPort(reader)) {
      if (told.message === 'exit') process.exit(0)
      const line = new Line(told.message)
      if (!part.atOnce(line)) backlog.push(told.message)
    }
  }
  setImmediate(catchUp)
}

function catchUp() {
  while (backlog.length > 0) take(backlog.shift())
}

reader.on('message', (text) => {
  backlog.push(text)
  catchUp()
})
tell('ready', [['language', 'node']])
