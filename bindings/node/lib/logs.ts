/** The core's log records, and what goes wrong in handlers. */
import { native } from './native.js'

/** How grave a record is. */
export type LogLevel = 'error' | 'warn' | 'info' | 'debug' | 'trace'

/** Something that was recorded. */
export interface LogRecord {
  /** Milliseconds since 1970. */
  time_ms: number
  level: LogLevel
  /** Where in the library. */
  target: string
  /** What happened. */
  message: string
  /** What a handler threw, of a record that tells of it. */
  error?: unknown
}

/** The one record that each start makes, unless it is quiet. */
const STARTED = 'micro::started'
let isProgram = false

/** @internal A service is the whole of this program: a start is what a person at a terminal looks for. */
export function thisIsTheProgram(): void {
  isProgram = true
}

let listener: (record: LogRecord) => void = print

/**
 * Gives every record from now on to `listen`, in place of standard error, where they go unless told otherwise. Of
 * records that the core makes, only those at least as grave as `warn`, or what `setLogLevel` says.
 */
export function receiveLogs(listen: (record: LogRecord) => void): void {
  listener = listen
}

/** Records what is at least as grave as `level`, in the whole process. */
export function setLogLevel(level: LogLevel | 'off'): void {
  native.setLogLevel(level)
}

/** @internal */
export function records(all: LogRecord[]): void {
  for (const record of all) listener(record)
}

/** @internal A handler, a hook or a middleware failed in a way that its caller is not told. */
export function failed(message: string, error: unknown): void {
  listener({ time_ms: Date.now(), level: 'error', target: 'micro', message, error })
}

function print(record: LogRecord): void {
  if (record.target === STARTED) {
    if (isProgram) console.error(record.message)
    return
  }
  const time = new Date(record.time_ms).toISOString()
  const line = `${time} ${record.level.toUpperCase()} ${record.target}: ${record.message}`
  if (record.error === undefined) console.error(line)
  else console.error(line, record.error)
}
