/** Services and their callers in one process, without sockets, for the tests of programs that use this package. */
import { threadId } from 'node:worker_threads'
import { Client } from './client.js'
import type { ClientOptions } from './options.js'
import { Runtime } from './runtime.js'
import type { Service } from './service.js'

let fleets = 0

/**
 * Services that see each other and no others.
 *
 *     await using fleet = new Fleet()
 *     await fleet.start(service)
 *     await fleet.client.call('greeter', 'Greeter.Hello', { name: 'Ada' })
 */
export class Fleet {
  /** Registry, network and broker of everything in it; a service or a client may have another broker. */
  readonly url: string
  /** A client of its services. */
  readonly client: Client
  readonly #runtime: Runtime
  readonly #isOwn: boolean
  readonly #services: Service[] = []
  readonly #clients: Client[] = []

  constructor(options: { runtime?: Runtime } = {}) {
    this.url = `memory://test-${process.pid}-${threadId}-${fleets++}`
    this.#isOwn = options.runtime === undefined
    this.#runtime = options.runtime ?? new Runtime({ workers: 1 })
    this.client = this.newClient()
  }

  /** Options that make a service or a client part of it. */
  get options(): { registry: string; network: string; environment: boolean } {
    return { registry: this.url, network: this.url, environment: false }
  }

  /** Another client. */
  newClient(options: ClientOptions = {}): Client {
    const client = new Client({ broker: this.url, ...options, ...this.options, runtime: this.#runtime })
    this.#clients.push(client)
    return client
  }

  /** Starts a service in here, whatever registry it was made for. */
  async start(service: Service): Promise<Service> {
    const client = { ...service.options.client, network: this.url }
    const within = { ...this.options, address: '127.0.0.1:0', propagation: 0, client }
    service.options = { broker: this.url, ...service.options, ...within }
    service.runtime = this.#runtime
    await service.start()
    this.#services.push(service)
    return service
  }

  /** Closes its clients, then stops its services, the last one first. Nothing of it is left open, also for a test runner. */
  async close(): Promise<void> {
    for (const client of this.#clients) client.close()
    for (const service of this.#services.reverse()) await service.stop()
    this.#services.length = 0
    if (this.#isOwn) await this.#runtime.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
