/** What is asked of the core, beside calls. */

/** The name of an operation, and its arguments as JSON. */
export type Question = readonly [operation: string, args: string]

/** @internal */
export function question(operation: string, args: object): Question {
  return [operation, JSON.stringify(args, finite)]
}

function finite(name: string, value: unknown): unknown {
  if (typeof value !== 'number' || Number.isFinite(value)) return value
  throw new TypeError(`${name} is ${value}: give a number that is finite`)
}
