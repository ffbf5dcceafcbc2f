// The client's part: one client at a time, and any number of calls and streams at once.
import { performance } from 'node:perf_hooks'
import * as micro from '@micro/core'
import { errors, raw } from '@micro/core'
import { InMemory } from '../../../../examples/registry/registry.mjs'
import { binOf, failure, metadata, shown, tell } from './line.mjs'
import { argumentsOf, ask, told } from './questions.mjs'

/** Values that come as they are asked for, in order. */
class Queue {
  #there = []
  #waiting = []

  put(value) {
    const waits = this.#waiting.shift()
    if (waits) waits(value)
    else this.#there.push(value)
  }

  async get() {
    if (this.#there.length > 0) return this.#there.shift()
    return await new Promise((take) => this.#waiting.push(take))
  }

  /** What is there, and is not taken by `get` any more. */
  rest() {
    return this.#there.splice(0)
  }
}

export class Client {
  client
  calls = new Map()

  do(line) {
    const id = line.get('id')
    switch (line.verb) {
      case 'start':
        return this.start(line)
      case 'provide':
        return this.provide(line)
      case 'stop':
        return void this.stop(line)
      case 'ping':
        return tell('ok', [['id', id]])
      case 'call':
      case 'open':
      case 'many':
      case 'ask':
      case 'follow':
      case 'publish': {
        const call = new Call(id)
        this.calls.set(id, call)
        call.done = this[line.verb](line, call).finally(() => this.calls.delete(id))
        return
      }
    }
    const call = this.calls.get(id)
    if (call) call.told(line)
    else if (line.verb === 'send') tell('unsent', [['id', id]])
  }

  start(line) {
    const id = ['id', line.get('id')]
    try {
      this.client = new micro.Client(line.settings())
      for (const name of line.all('layer')) this.client.use(layer(name))
    } catch (error) {
      return tell('failed', [id, ...failed(error)])
    }
    tell('ok', [id])
  }

  provide(line) {
    const id = ['id', line.get('id')]
    try {
      micro.provide(line.get('name'), new InMemory())
    } catch (error) {
      return tell('failed', [id, ...failed(error)])
    }
    tell('ok', [id])
  }

  async stop(line) {
    const running = [...this.calls.values()]
    this.client?.close()
    for (const call of running) call.cancel()
    await Promise.all(running.map((call) => call.done))
    tell('ok', [['id', line.get('id')]])
  }

  up() {
    if (!this.client) throw new errors.FailedPrecondition('no client was started')
    return this.client
  }

  async call(line, call) {
    const begun = performance.now()
    let fields
    try {
      const [service, endpoint, options] = terms(line, call)
      const reply = await this.up().request(service, endpoint, line.payload(), options)
      fields = [
        ['code', 0],
        ...shown(reply.message),
        ...metadata('h.', reply.headers),
        ...metadata('t.', reply.trailers),
      ]
    } catch (error) {
      fields = failed(error)
    }
    result(call.id, fields, begun)
  }

  async open(line, call) {
    const begun = performance.now()
    const kind = line.get('kind')
    let stream
    try {
      const client = this.up()
      const [service, endpoint, options] = terms(line, call)
      if (kind === 'server') stream = client.serverStream(service, endpoint, line.payload(), options)
      else if (kind === 'client') stream = client.clientStream(service, endpoint, undefined, options)
      else stream = client.bidiStream(service, endpoint, undefined, options)
    } catch (error) {
      return result(call.id, failed(error), begun)
    }
    tell('opened', [['id', call.id]])
    const fields = await call.run(stream, kind)
    result(call.id, fields, begun)
  }

  async many(line, call) {
    const begun = performance.now()
    const [service, endpoint, options] = terms(line, call)
    const payload = line.payload()
    const found = new Map([
      ['ok', 0],
      ['wrong', 0],
    ])
    const count = (what) => found.set(what, (found.get(what) ?? 0) + 1)
    let left = line.number('count')
    const work = async () => {
      while (left-- > 0) {
        try {
          const reply = await this.up().request(service, endpoint, payload, options)
          count(payload.equals(reply.message) ? 'ok' : 'wrong')
          const tag = reply.headers.get('tag')
          if (tag !== undefined) count(`tag.${tag}`)
        } catch (error) {
          count(`failed.${codeOf(error)}`)
        }
      }
    }
    await Promise.all(Array.from({ length: line.number('concurrency', 1) }, work))
    result(call.id, [['code', call.signal.aborted ? 1 : 0], ...found], begun)
  }

  async ask(line, call) {
    const begun = performance.now()
    let fields
    try {
      const [args, options] = argumentsOf(line, call.signal)
      fields = [['code', 0], ...told(await ask(this.up(), line.get('operation'), args, options))]
    } catch (error) {
      fields = failed(error)
    }
    result(call.id, fields, begun)
  }

  async publish(line, call) {
    const begun = performance.now()
    let fields = [['code', 0]]
    try {
      const options = { ...line.settings(), metadata: { do: line.get('do') }, codec: 'bytes', signal: call.signal }
      if (line.get('task')) {
        const id = await this.up().task(line.get('topic'), line.payload(), options)
        fields.push(...shown(await this.up().taskResult(id, { format: raw, signal: call.signal })))
      } else {
        await this.up().publish(line.get('topic'), line.payload(), options)
      }
    } catch (error) {
      fields = failed(error)
    }
    result(call.id, fields, begun)
  }

  async follow(line, call) {
    const begun = performance.now()
    let fields = [['code', 0]]
    try {
      const [args, options] = argumentsOf(line, call.signal)
      call.stream = await this.up().watch(args.service, options)
      tell('opened', [['id', call.id]])
      for await (const change of call.stream) {
        if (!(await call.wanted.get())) throw new errors.Cancelled('cancelled')
        tell('change', [['id', call.id], ...told(change)])
      }
    } catch (error) {
      fields = failed(error)
    }
    result(call.id, fields, begun)
  }
}

/** A call or a stream that is under way, and what it is told meanwhile. */
class Call {
  stream
  sends = new Queue()
  wanted = new Queue()
  #abort = new AbortController()

  constructor(id) {
    this.id = id
  }

  get signal() {
    return this.#abort.signal
  }

  told(line) {
    if (line.verb === 'send' || line.verb === 'close') this.sends.put(line)
    else if (line.verb === 'recv') this.wanted.put(true)
    else if (line.verb === 'headers') void this.tellHeaders()
    else if (line.verb === 'cancel') this.cancel()
  }

  cancel() {
    this.#abort.abort()
    this.stream?.cancel()
    this.wanted.put(false)
  }

  async tellHeaders() {
    tell('headers', [['id', this.id], ...metadata('h.', await this.stream.headers())])
  }

  /** Reads as it is asked to. Ends when the stream does and every message has been told. */
  async run(stream, kind) {
    this.stream = stream
    const sending = this.sendAll(stream)
    let fields = [['code', 0]]
    let heads
    try {
      if (kind === 'client') fields.push(...shown(await stream))
      else await this.readAll(stream)
      heads = [await stream.headers(), stream.trailers]
    } catch (error) {
      fields = failed(error)
      heads = []
    }
    this.sends.put(undefined)
    await sending
    if (heads.length > 0) fields.push(...metadata('h.', heads[0]), ...metadata('t.', heads[1]))
    return fields
  }

  async readAll(stream) {
    // The next message is taken when it is there, and told when it is asked for, so that the end is seen without asking.
    for await (const message of stream) {
      if (!(await this.wanted.get())) throw new errors.Cancelled('cancelled')
      tell('message', [['id', this.id], ...shown(message)])
    }
  }

  async sendAll(stream) {
    for (let line = await this.sends.get(); line !== undefined; line = await this.sends.get()) {
      if (line.verb === 'close') {
        stream.end()
        continue
      }
      try {
        for (let left = line.number('count', 1); left > 0; left--) await stream.send(line.payload())
        tell('sent', [['id', this.id]])
      } catch {
        tell('unsent', [['id', this.id]])
      }
    }
    for (const line of this.sends.rest()) if (line?.verb === 'send') tell('unsent', [['id', this.id]])
  }
}

/** Middleware, as the README says. */
function layer(name) {
  return async (call, next) => {
    const given = call.options.metadata ?? []
    const has = (what) => given.some(([known, value]) => known === what && value === name)
    if (has('refuse')) throw new errors.PermissionDenied(`refused by ${name}`)
    if (has('answer')) return { message: Buffer.from(name) }
    call.options.metadata = [...given, ['test-layer', name]]
    return await next()
  }
}

function terms(line, call) {
  const options = { ...line.settings(), returns: raw, signal: call.signal }
  const { metadata: known } = options
  if (typeof known === 'object' && known !== null) {
    options.metadata = Object.entries(known).flatMap(([name, values]) =>
      [values].flat().map((value) => [name, binOf(name, value)]),
    )
  }
  return [line.get('service'), line.get('endpoint'), options]
}

function codeOf(error) {
  if (!(error instanceof micro.MicroError)) throw error
  return error.code
}

function failed(error) {
  codeOf(error)
  return [...failure(error), ...metadata('h.', error.headers), ...metadata('t.', error.trailers)]
}

function result(id, fields, begun) {
  tell('result', [['id', id], ...fields, ['elapsed_ms', Math.floor(performance.now() - begun)]])
}
