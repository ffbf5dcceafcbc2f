/** The native part: what it takes, what it gives, and where it is found. */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

/** What went wrong, as the native part tells it. */
export interface Failure {
  status: number
  code: number
  id: string
  detail: string
  http: number
  remote: boolean
  reason: string
  origin?: { service: string; endpoint: string; node: string; attempts: number }
  details: { typeUrl: string; value: Buffer }[]
}

export interface NativeRuntime {
  shutdown(grace: number): Failure | null
  free(): void
  cancel(id: number): boolean | Failure
  send(id: number, message: Uint8Array, length: number, last: boolean): boolean | Failure
  close(id: number): boolean | Failure
  grant(id: number, messages: number): boolean | Failure
  bound(id: number, bytes: number): boolean | Failure
  reply(id: number, message: Uint8Array, length: number, trailers: Uint8Array): boolean | Failure
  fail(
    id: number,
    code: number,
    http: number,
    said: string,
    detail: string,
    details: { typeUrl: string; value: Buffer }[],
    retry: number,
    trailers: Uint8Array,
  ): boolean | Failure
  settle(id: number, verdict: number, delay: number, reason: string): boolean | Failure
  setHeaders(id: number, headers: Uint8Array): Failure | null
  sendHeaders(id: number): Failure | null
  checkMetadata(block: Uint8Array): Failure | null
  describe(id: number): string | Failure
  isWanted(id: number): boolean
}

export interface NativeQueue {
  drain(numbers: Float64Array, arena: Uint8Array): (Buffer | Failure)[]
  hold(hold: boolean): void
  receiveLogs(): Failure | null
  close(): Failure | null
}

export interface NativeClient {
  call(
    queue: NativeQueue,
    token: number,
    shape: number,
    service: string,
    endpoint: string,
    message: Uint8Array,
    length: number,
    meta: Uint8Array,
    timeout: number,
    parent: number,
    options: string,
    flags: number,
  ): number | Failure
  publish(
    queue: NativeQueue,
    token: number,
    topic: string,
    message: Uint8Array,
    length: number,
    meta: Uint8Array,
    timeout: number,
    parent: number,
    options: string,
    flags: number,
  ): number | Failure
  ask(
    queue: NativeQueue,
    token: number,
    operation: string,
    args: string,
    timeout: number,
    parent: number,
  ): number | Failure
  follow(
    queue: NativeQueue,
    token: number,
    operation: string,
    args: string,
    timeout: number,
    parent: number,
  ): number | Failure
}

export interface NativeServer {
  method(name: string, shape: number, options: string): number | Failure
  subscribe(topic: string, options: string): number | Failure
  job(options: string): number | Failure
  start(queue: NativeQueue, token: number): number | Failure
  stop(): Failure | null
  setHealth(service: string, serving: boolean): Failure | null
  client(): NativeClient | Failure
}

/** The flag of what waits for its place while as much is under way as may be. */
export const WAIT = 0x100

interface Native {
  VERSION: string
  newRuntime(options: string): NativeRuntime | Failure
  newQueue(runtime: NativeRuntime, ring: () => void): NativeQueue | Failure
  newClient(runtime: NativeRuntime, options: string): NativeClient | Failure
  newServer(runtime: NativeRuntime, name: string, options: string): NativeServer | Failure
  explain(name: string, options: string): string | Failure
  provide(runtime: NativeRuntime, area: number, name: string, queue: NativeQueue, token: number): number | Failure
  declareCodec(name: string): number | Failure
  setLogLevel(level: string): void
  live(kind: number): number
}

/** What this machine runs, as prebuilt parts are named: `linux-x64-gnu`. */
function platform(): string {
  const base = `${process.platform}-${process.arch}`
  if (process.platform !== 'linux') return base
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined
  return `${base}-${report?.header?.glibcVersionRuntime === undefined ? 'musl' : 'gnu'}`
}

/** The part that comes with the package; none where that has none for this machine, or leaves a choice. */
function bundled(): string | undefined {
  const folder = join(__dirname, '..', 'prebuilds')
  const base = `${process.platform}-${process.arch}`
  const found = ['', '-gnu', '-musl'].map((end) => join(folder, base + end, 'micro.node')).filter(existsSync)
  // Finding out which C library runs takes milliseconds.
  return found.length > 1 ? join(folder, platform(), 'micro.node') : found[0]
}

function load(): Native {
  const own = createRequire(__filename)
  const file = bundled()
  if (file !== undefined) return own(file)
  const key = platform()
  try {
    return own(`@micro/core-${key}`)
  } catch (cause) {
    throw new Error(
      `@micro/core has no native part for ${key}: install @micro/core-${key}, and do not leave out optional dependencies`,
      { cause },
    )
  }
}

export const native = load()

/** Version of this package. */
export const version: string = native.VERSION

/** How many things of a kind are alive in this process, for leak tests: 5 are operations under way, 6 calls that came in. */
export function live(kind: number): number {
  return native.live(kind)
}
