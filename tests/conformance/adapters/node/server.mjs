// The server's part: one service at a time, and one interpreter of plans behind its endpoints.
import { setTimeout as sleep } from 'node:timers/promises'
import { errors, MicroError, raw, Service } from '@micro/core'
import { binOf, decoded, failure, pattern, shown, tell, text } from './line.mjs'
import { ask, told } from './questions.mjs'

/** What handlers under one key count, and what they wait for. */
class Key {
  counts = { calls: 0, received: 0, sent: 0, cancelled: 0 }
  released = false
  release

  constructor() {
    this.event = new Promise((release) => {
      this.release = () => {
        this.released = true
        release()
      }
    })
  }
}

/** Keys outlive services. */
export class Server {
  keys = new Map()
  service

  constructor(waitFor) {
    this.waitFor = waitFor
  }

  key(name) {
    const known = this.keys.get(name) ?? new Key()
    this.keys.set(name, known)
    return known
  }

  /** What must not wait for an event loop that a handler blocks. */
  atOnce(line) {
    if (line.verb !== 'release') return false
    this.key(line.get('key')).release()
    tell('ok', [['id', line.get('id')]])
    return true
  }

  do(line) {
    if (this.atOnce(line)) return
    const id = ['id', line.get('id')]
    if (line.verb === 'counts') {
      tell('counts', [id, ...Object.entries(this.key(line.get('key')).counts)])
    } else if (line.verb === 'health') {
      this.service?.setHealth(line.get('serving') === 'true')
      tell('ok', [id])
    } else if (line.verb === 'ping') {
      tell('ok', [id])
    } else {
      void { start: this.start, stop: this.stop, ask: this.ask }[line.verb].call(this, line, id)
    }
  }

  async start(line, id) {
    try {
      const service = new Service(line.get('service'), line.settings())
      for (const name of line.all('layer')) service.use(layer(name))
      new Handlers(this, service, line.get('tag')).add(line)
      await service.start()
      this.service = service
      tell('started', [id, ['address', service.address]])
    } catch (error) {
      tell('failed', [id, ...failed(error)])
    }
  }

  async ask(_, id) {
    try {
      if (!this.service) throw new errors.FailedPrecondition('no service runs')
      tell('result', [id, ['code', 0], ...told(await this.service.stats())])
    } catch (error) {
      tell('result', [id, ...failed(error)])
    }
  }

  async stop(_, id) {
    const { service } = this
    this.service = undefined
    try {
      await service?.stop()
      tell('ok', [id])
    } catch (error) {
      tell('failed', [id, ...failed(error)])
    }
  }
}

/** Middleware, as the README says. */
function layer(name) {
  return async (context, next) => {
    context.setHeader('layer', name)
    if (context.metadata.get('refuse') === name) throw new errors.PermissionDenied(`refused by ${name}`)
    if (context.metadata.get('answer') === name) return Buffer.from(name)
    try {
      return await next()
    } finally {
      context.setTrailer('layer-end', name)
    }
  }
}

function failed(error) {
  if (!(error instanceof MicroError)) throw error
  return failure(error)
}

/** The endpoints of one service. */
class Handlers {
  constructor(server, service, tag) {
    this.server = server
    this.service = service
    this.tag = tag
  }

  add(line) {
    const { service } = this
    const options = (name) => {
      const settings = line.settings(`endpoint.${name}`)
      const format = (typeName) => (typeName === undefined ? raw : { ...raw, typeName })
      return { ...settings, request: format(settings.request), response: format(settings.response) }
    }
    const one = async (request, context) => {
      const turn = new Turn(this, context, request)
      for await (const _ of turn.run()) throw new errors.InvalidArgument('no stream of replies')
      return turn.forgets ? undefined : turn.payload
    }
    service.handle('Conformance.Echo', one, options('Echo'))
    service.handle('Conformance.Do', one, options('Do'))
    const count = (request, context) => new Turn(this, context, request).run()
    service.serverStream('Conformance.Count', count, options('Count'))
    const sum = async (requests, context) => {
      const turn = new Turn(this, context, Buffer.alloc(0), requests)
      for await (const _ of turn.run()) throw new errors.InvalidArgument('no stream of replies')
      context.setTrailer('received', String(turn.received))
      return turn.forgets ? undefined : turn.payload
    }
    service.clientStream('Conformance.Sum', sum, options('Sum'))
    const chat = (requests, context) => new Turn(this, context, Buffer.alloc(0), requests).run(true)
    service.bidiStream('Conformance.Chat', chat, options('Chat'))
    for (const [topic, settings] of line.under('subscriber.')) {
      service.subscribe(topic, one, { ...JSON.parse(settings), format: raw })
    }
    for (const [topic, settings] of line.under('task.')) {
      service.task(topic, one, { ...JSON.parse(settings), format: raw, answer: raw })
    }
    for (const [, settings] of line.under('job.')) {
      const { every, ...options } = JSON.parse(settings)
      service.every(every, ran, options)
    }
  }
}

/** Tells of each run. */
function ran({ job, attempt }) {
  tell('event', [['name', 'said'], ['key', job], ...shown(Buffer.from(String(attempt)))])
}

const FIRST = /^(key|tag|header\..*)$/

/** One call being handled. */
class Turn {
  key
  keyName = ''
  received = 0
  forgets = false
  plan = []

  constructor(handlers, context, payload, requests) {
    this.handlers = handlers
    this.context = context
    this.payload = payload
    this.requests = requests
    for (const action of (context.metadata.text('do') ?? '').split(';')) {
      const cut = action.indexOf('=')
      const name = cut < 0 ? action : action.slice(0, cut)
      if (name) this.plan.push([name, cut < 0 ? '' : decoded(action.slice(cut + 1)).toString()])
    }
  }

  event(name) {
    tell('event', [
      ['name', name],
      ['key', this.keyName],
    ])
  }

  /** Runs the plan, then takes the messages that are left; gives the replies of a stream. */
  async *run(echo = false) {
    this.first()
    let told = false
    const cancelled = () => {
      if (told || !this.key) return
      told = true
      this.count('cancelled')
      this.event('cancelled')
    }
    const { signal } = this.context
    signal.addEventListener('abort', cancelled, { once: true })
    try {
      for await (const message of this.act()) {
        yield message
        this.count('sent')
      }
      for await (const message of this.receive(Infinity)) {
        if (!echo) continue
        yield message
        this.count('sent')
      }
    } catch (error) {
      // What is part of a call may hear of its end before the call does.
      if (error instanceof errors.Cancelled) cancelled()
      throw error
    } finally {
      signal.removeEventListener('abort', cancelled)
    }
  }

  count(what) {
    if (!this.key) return 0
    this.key.counts[what]++
    return this.key.counts[what]
  }

  first() {
    const { server, tag } = this.handlers
    for (const [action, value] of this.plan) {
      if (action.startsWith('header.')) {
        const name = action.slice('header.'.length)
        this.context.setHeader(name, binOf(name, value))
      } else if (action === 'tag') {
        this.context.setHeader('tag', tag)
      } else if (action === 'key') {
        this.key = server.key(value)
        this.keyName = value
      }
    }
  }

  held() {
    if (!this.key) throw new errors.InvalidArgument('the plan needs a key for this')
    this.event('held')
    return this.key
  }

  async *act() {
    const { context, handlers } = this
    const number = this.count('calls')
    const fail = { detail: '', error_id: '', http: 0, details: [] }
    let size
    let [fill, following, times, args] = [0, '', Infinity, {}]
    for (const [action, value] of this.plan) {
      if (FIRST.test(action)) continue
      if (action.startsWith('attach.')) {
        const typeUrl = `type.googleapis.com/${action.slice('attach.'.length)}`
        fail.details.push({ typeUrl, value: Buffer.from(value) })
        continue
      }
      if (action.startsWith('trailer.')) {
        const name = action.slice('trailer.'.length)
        context.setTrailer(name, binOf(name, value))
        continue
      }
      switch (action) {
        case 'tell':
          if (Number(value) === number) this.event('reached')
          break
        case 'report':
          this.payload = Buffer.from(this.report(value))
          break
        case 'size':
          size = Number(value)
          break
        case 'fill':
          fill = Number(value)
          break
        case 'sleep':
          await sleep(Number(value), undefined, { signal: context.signal })
          break
        case 'hold':
          await either(this.held().event, context.signal)
          break
        case 'block': {
          const key = this.held()
          handlers.server.waitFor(() => key.released)
          break
        }
        case 'next':
          following = value
          break
        case 'call': {
          const options = { codec: 'bytes', metadata: { do: following }, returns: raw }
          this.payload = await handlers.service.client.call(value, 'Conformance.Do', this.payload, options)
          break
        }
        case 'say':
          tell('event', [['name', 'said'], ['key', this.keyName], ...shown(this.payload)])
          break
        case 'publish':
          await handlers.service.client.publish(value, this.payload, { codec: 'bytes', metadata: { do: following } })
          break
        case 'begin':
          context.sendHeaders()
          break
        case 'args':
          args = JSON.parse(value)
          break
        case 'ask':
          this.payload = Buffer.from(
            JSON.stringify(await ask(handlers.service.client, value, args, { timeout: Infinity })),
          )
          break
        case 'messages': {
          const message = size === undefined ? this.payload : pattern(size, fill)
          for (let left = Number(value); left > 0; left--) yield message
          break
        }
        case 'receive':
          for await (const _ of this.receive(Number(value)));
          break
        case 'times':
          times = Number(value)
          break
        case 'detail':
        case 'error_id':
        case 'http':
          fail[action] = value
          break
        case 'fail':
          if (number <= times) throw failing(Number(value), fail)
          break
        case 'panic':
          throw new Error(value)
        case 'forget':
          this.forgets = true
          return
        default:
          throw new errors.InvalidArgument(`no action \`${action}\``)
      }
    }
    if (size !== undefined) this.payload = pattern(size, fill)
  }

  async *receive(most) {
    for (let left = most; this.requests !== undefined && left > 0; left--) {
      const { done, value } = await this.requests.next()
      if (done) return
      this.received++
      this.count('received')
      this.payload = value
      yield value
    }
  }

  report(what) {
    const { context } = this
    if (what === 'metadata') {
      const own = context.metadata.pairs.filter(([name]) => name.startsWith('test-'))
      return own.map(([name, value]) => `${name}: ${text(value)}\n`).join('')
    }
    if (what === 'deadline') return context.remaining === undefined ? 'none' : String(Math.floor(context.remaining))
    if (what === 'delivery') {
      const { topic, attempt, key = '-', messageId = '-', priority } = context
      return [topic, attempt, key, messageId, priority].join(' ')
    }
    if (what === 'caller') return context.caller
    if (what === 'endpoint') return context.endpoint
    throw new errors.InvalidArgument(`nothing known of \`${what}\``)
  }
}

/** Waits for one or the other. */
async function either(event, signal) {
  signal.throwIfAborted()
  let abort
  const aborted = new Promise((_, reject) => {
    abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
  })
  try {
    await Promise.race([event, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

function failing(code, { detail, error_id: id, http, details }) {
  if (Number(http)) return new MicroError(detail, { id, http: Number(http), details })
  const kind = errors.classOf(code)
  return new kind(detail, { id, details })
}
