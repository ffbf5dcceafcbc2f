/** Tasks: messages whose answers are asked for later, by their ids. */
import { Code, classOf, type MicroError } from './errors.js'

/** How far a task has come. */
export interface TaskState {
  /** `failed`: an attempt failed, and another follows. `dead`: it was given up. */
  readonly state: 'queued' | 'running' | 'failed' | 'done' | 'dead'
  /** Of one that runs or has failed: which attempt, from 1. */
  readonly attempt: number | undefined
  /** Of one that runs: id of the worker's node. */
  readonly node: string | undefined
  /** Of one that has failed or is dead: why. */
  readonly error: MicroError | undefined
}

/** @internal A state as the core tells it. */
export function stateOf(told: string): TaskState {
  const { state, attempt, node, code, error } = JSON.parse(told)
  return {
    state,
    attempt: attempt ?? undefined,
    node: node ?? undefined,
    error: error === null ? undefined : new (classOf(code ?? Code.UNKNOWN))(error, { id: 'micro' }),
  }
}
