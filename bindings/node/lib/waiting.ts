/** One answer that is waited for, and can be given up. */
import { Cancelled, type MicroError } from './errors.js'
import type { Incoming, Runtime, Sink } from './runtime.js'

/** Told the one answer. */
export class Waiting implements Sink {
  readonly holds = true
  #abort: (() => void) | undefined
  id = 0

  constructor(
    private readonly underWay: Set<number>,
    private readonly resolve: (value: unknown) => void,
    private readonly reject: (error: unknown) => void,
    private readonly read: (event: Incoming) => unknown,
    private readonly signal: AbortSignal | undefined,
  ) {}

  begun(runtime: Runtime, id: number): void {
    this.id = id
    this.underWay.add(id)
    const { signal } = this
    if (signal === undefined) return
    this.#abort = () => {
      runtime.cancel(id)
      this.reject(aborted(signal))
    }
    signal.addEventListener('abort', this.#abort, { once: true })
  }

  end(event: Incoming, error: MicroError | undefined): void {
    this.underWay.delete(this.id)
    if (this.#abort) this.signal?.removeEventListener('abort', this.#abort)
    if (error) {
      this.reject(error)
      return
    }
    try {
      this.resolve(this.read(event))
    } catch (wrong) {
      this.reject(wrong)
    }
  }

  tell(): void {}
}

export function aborted(signal: AbortSignal): Cancelled {
  return new Cancelled('the call was aborted', { id: 'micro', cause: signal.reason })
}
