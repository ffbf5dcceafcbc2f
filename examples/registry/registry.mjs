// A registry in plain JavaScript, in memory: what a program would write over a database of its own.
import { fileURLToPath } from 'node:url'
import { isDeepStrictEqual } from 'node:util'
import { Client, errors, provide, Service } from '@micro/core'

/** Records by service and version. Nodes that are not registered again in time are gone, and watchers hear of it. */
export class InMemory {
  records = new Map()
  expiries = new Map()
  watchers = new Set()

  register(service, ttl) {
    const { nodes = [] } = service
    if (nodes.length === 0 || nodes.some((node) => !node.id)) {
      throw new errors.InvalidArgument(`service ${service.name}: every registration needs a node with an id`)
    }
    const key = keyOf(service)
    const known = this.records.get(key) ?? { ...service, nodes: [] }
    const before = new Map(known.nodes.map((node) => [node.id, node]))
    const after = new Map([...before, ...nodes.map((node) => [node.id, node])])
    this.records.set(key, { ...service, nodes: [...after.values()] })
    for (const node of nodes) {
      this.keep(key, node.id)
      if (ttl !== undefined) {
        const expire = setTimeout(() => this.deregister({ ...service, nodes: [node] }), ttl)
        this.expiries.set(JSON.stringify([key, node.id]), expire.unref())
      }
    }
    this.tell(
      'create',
      service,
      nodes.filter((node) => !before.has(node.id)),
    )
    // What describes a version describes each of its nodes.
    const described = [known, service].map(({ endpoints = [], metadata = {} }) => ({ endpoints, metadata }))
    const same = isDeepStrictEqual(described[0], described[1])
    const isOther = (node) => before.has(node.id) && !(same && isDeepStrictEqual(node, before.get(node.id)))
    this.tell('update', service, [...after.values()].filter(isOther))
  }

  deregister(service) {
    const key = keyOf(service)
    const known = this.records.get(key)
    if (known === undefined) return
    const ids = new Set((service.nodes ?? []).map((node) => node.id))
    for (const id of ids) this.keep(key, id)
    const left = known.nodes.filter((node) => !ids.has(node.id))
    if (left.length > 0) this.records.set(key, { ...known, nodes: left })
    else this.records.delete(key)
    this.tell(
      'delete',
      known,
      known.nodes.filter((node) => ids.has(node.id)),
    )
  }

  get(name) {
    return this.list().filter((record) => record.name === name)
  }

  list() {
    const keys = [...this.records.keys()].sort()
    return keys.map((key) => this.records.get(key))
  }

  watch(name) {
    return new Changes(this, name)
  }

  /** Lets no timer end a node any more. */
  keep(key, id) {
    const place = JSON.stringify([key, id])
    clearTimeout(this.expiries.get(place))
    this.expiries.delete(place)
  }

  tell(action, service, nodes) {
    if (nodes.length === 0) return
    for (const watcher of this.watchers) {
      if (watcher.name === undefined || watcher.name === service.name) {
        watcher.put({ action, service: { ...service, nodes } })
      }
    }
  }
}

/** What one watcher is told, from the moment it was made. */
class Changes {
  #told = []
  #wake = () => {}
  #over = false

  constructor(registry, name) {
    this.registry = registry
    this.name = name
    registry.watchers.add(this)
  }

  put(change) {
    this.#told.push(change)
    this.#wake()
  }

  async next() {
    while (this.#told.length === 0 && !this.#over) {
      await new Promise((wake) => {
        this.#wake = wake
      })
    }
    return this.#over ? { done: true, value: undefined } : { done: false, value: this.#told.shift() }
  }

  async return() {
    this.registry.watchers.delete(this)
    this.#over = true
    this.#wake()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator]() {
    return this
  }
}

function keyOf({ name, version = '' }) {
  return JSON.stringify([name, version])
}

export async function main() {
  const mine = provide('mine', new InMemory())
  const service = new Service('greeter', { registry: mine.url, address: '127.0.0.1:0' })
  service.handle('Greeter.Hello', async (name) => `Hello, ${name}!`)
  await service.start()
  const client = new Client({ registry: mine.url })
  console.log(await client.call('greeter', 'Greeter.Hello', 'Ada'))
  client.close()
  await service.stop()
  await mine.close()
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
