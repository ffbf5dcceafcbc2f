/** What goes wrong: one tree of errors, and how they cross the border. */
import { inspect } from 'node:util'
import { Metadata, unpack } from './metadata.js'
import type { Failure } from './native.js'

/** How a call ended, in gRPC's numbers. */
export const Code = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const
export type Code = (typeof Code)[keyof typeof Code]

const NAMES = Object.keys(Code)

/** A protobuf message attached to an error, for programs to read. */
export interface Detail {
  /** Such as `type.googleapis.com/google.rpc.RetryInfo`. */
  typeUrl: string
  /** The message, serialized. */
  value: Uint8Array
}

export interface ErrorOptions {
  /** The component that failed. */
  id?: string
  /** gRPC's number, where the class does not say it. */
  code?: Code
  /** go-micro's number, like an HTTP status; 0 for the one that follows from the code. */
  http?: number
  /** Protobuf messages that say more. */
  details?: Iterable<Detail>
  /** False: another attempt would fail as well. Or the milliseconds after which one may not. Calls and messages heed it. */
  retry?: false | number
  /** What it came from; stays in this process. */
  cause?: unknown
}

/** A failure. Throw one of the subclasses in a handler, and its caller catches the same, wherever it runs. */
export class MicroError extends Error {
  /** gRPC's number. */
  readonly code: Code
  /** The component that failed. */
  readonly id: string
  /** What is wrong, for people. */
  readonly detail: string
  /** go-micro's number; 0 for the one that follows from the code. */
  readonly http: number
  /** Protobuf messages that say more. */
  readonly details: readonly Detail[]
  /**
   * What a handler says about another attempt: false for none, or milliseconds to wait before. A message whose handler forbids
   * another one is a dead letter at once.
   */
  readonly retry: false | number | undefined
  /** The service that was called; of a call that failed. */
  service = ''
  /** The endpoint that was called; of a call that failed. */
  endpoint = ''
  /** Id and address of the node that was tried last; empty when none was. */
  node = ''
  /** How often it was tried; 0 when it failed before the first time. */
  attempts = 0
  /**
   * What kept the call from every handler, where the code alone does not tell: `no_nodes`, `no_match`, `other_service`.
   * Empty for all that the far side said.
   */
  reason = ''
  /** True when the far side said so. */
  isRemote = false
  /** Headers that came with the failure. */
  headers: Metadata = Metadata.none
  /** Trailers that came with the failure. */
  trailers: Metadata = Metadata.none

  constructor(detail: unknown = '', options: ErrorOptions = {}) {
    const said = text(detail)
    super(said, 'cause' in options ? { cause: options.cause } : undefined)
    this.detail = said
    this.code = options.code ?? (new.target as { code?: Code }).code ?? Code.UNKNOWN
    this.id = text(options.id ?? '')
    this.http = options.http ?? 0
    this.details = Array.from(options.details ?? [])
    this.retry = options.retry
  }

  /** Spelling of the code, such as `NOT_FOUND`. */
  get status(): string {
    return NAMES[this.code] ?? 'UNKNOWN'
  }

  override get name(): string {
    return this.constructor.name
  }

  override toString(): string {
    const said = this.id ? `${this.status} ${this.id}: ${this.detail}` : `${this.status}: ${this.detail}`
    if (!this.endpoint) return said
    const where = this.service ? `${this.service} ${this.endpoint}` : this.endpoint
    const node = this.node ? ` on ${this.node}` : ''
    return `${said} [${where}${node}, ${this.attempts} attempt${this.attempts === 1 ? '' : 's'}]`
  }
}

/** Text of whatever is given as such. */
export function text(given: unknown): string {
  if (typeof given === 'string') return given
  if (given instanceof Error) return given.message
  return typeof given === 'object' ? inspect(given) : String(given)
}

/** The call was cancelled, by its caller or by what it was part of. */
export class Cancelled extends MicroError {
  static readonly code: Code = Code.CANCELLED
}
/** Something failed, and no cause was given. */
export class Unknown extends MicroError {
  static readonly code: Code = Code.UNKNOWN
}
/** The request is wrong, whatever the state of the service. */
export class InvalidArgument extends MicroError {
  static readonly code: Code = Code.INVALID_ARGUMENT
}
/** The deadline passed. */
export class DeadlineExceeded extends MicroError {
  static readonly code: Code = Code.DEADLINE_EXCEEDED
}
/** There is no such thing. */
export class NotFound extends MicroError {
  static readonly code: Code = Code.NOT_FOUND
}
/** There is such a thing already. */
export class AlreadyExists extends MicroError {
  static readonly code: Code = Code.ALREADY_EXISTS
}
/** The caller is known, and may not. */
export class PermissionDenied extends MicroError {
  static readonly code: Code = Code.PERMISSION_DENIED
}
/** A limit is reached: try again later. */
export class ResourceExhausted extends MicroError {
  static readonly code: Code = Code.RESOURCE_EXHAUSTED
}
/** The state of the service does not allow it. */
export class FailedPrecondition extends MicroError {
  static readonly code: Code = Code.FAILED_PRECONDITION
}
/** Something else came in between: begin anew. */
export class Aborted extends MicroError {
  static readonly code: Code = Code.ABORTED
}
/** Past the end. */
export class OutOfRange extends MicroError {
  static readonly code: Code = Code.OUT_OF_RANGE
}
/** The service has no such endpoint. */
export class Unimplemented extends MicroError {
  static readonly code: Code = Code.UNIMPLEMENTED
}
/** The service is broken. */
export class Internal extends MicroError {
  static readonly code: Code = Code.INTERNAL
}
/** The service cannot be reached now. */
export class Unavailable extends MicroError {
  static readonly code: Code = Code.UNAVAILABLE
}
/** Something is lost for good. */
export class DataLoss extends MicroError {
  static readonly code: Code = Code.DATA_LOSS
}
/** The caller is not known. */
export class Unauthenticated extends MicroError {
  static readonly code: Code = Code.UNAUTHENTICATED
}

/** What this library says of itself, before anything is sent or after everything is over. */
export class LocalError extends MicroError {}
/** The call, stream or watch is over. */
export class Stale extends LocalError {
  static readonly code: Code = Code.CANCELLED
}
/** It was made before this process was forked: make a new one in the child. */
export class Forked extends LocalError {
  static readonly code: Code = Code.FAILED_PRECONDITION
}
/** A bug in this library. */
export class Panic extends LocalError {
  static readonly code: Code = Code.INTERNAL
}
/** The client, the stream or the runtime is closed. */
export class Closed extends LocalError {
  static readonly code: Code = Code.CANCELLED
}
/** A limit of this process is reached. */
export class Full extends LocalError {
  static readonly code: Code = Code.RESOURCE_EXHAUSTED
}
/** An argument is wrong; the message says what would be right. */
export class WrongArgument extends LocalError {
  static readonly code: Code = Code.INVALID_ARGUMENT
}

type Kind = new (detail?: unknown, options?: ErrorOptions) => MicroError

const REMOTE: Kind[] = [
  Unknown,
  Cancelled,
  Unknown,
  InvalidArgument,
  DeadlineExceeded,
  NotFound,
  AlreadyExists,
  PermissionDenied,
  ResourceExhausted,
  FailedPrecondition,
  Aborted,
  OutOfRange,
  Unimplemented,
  Internal,
  Unavailable,
  DataLoss,
  Unauthenticated,
]
const LOCAL = new Map<number, Kind>([
  [1000, Stale],
  [1001, Forked],
  [1002, Panic],
  [1003, Closed],
  [1004, Full],
  [1006, WrongArgument],
])

/** The class of a code, such as `NotFound` for 5; `Unknown` for numbers that are none. */
export function classOf(code: number): Kind {
  return REMOTE[code] ?? Unknown
}

/** The error of a failure, and of the headers and trailers that came with it. */
export function errorOf(failure: Failure, meta?: Uint8Array): MicroError {
  const kind = LOCAL.get(failure.status) ?? classOf(failure.code)
  const { id, http, details, origin } = failure
  const error = new kind(failure.detail, { id, http, details })
  if (origin) {
    error.service = origin.service
    error.endpoint = origin.endpoint
    error.node = origin.node
    error.attempts = origin.attempts
  }
  error.isRemote = failure.remote
  error.reason = failure.reason
  if (meta) [error.headers, error.trailers] = unpack(meta)
  return error
}

/** What the native part gave, unless it is a failure, which is thrown. */
export function given<T>(told: T | Failure | null): T {
  if (typeof told === 'object' && told !== null && 'status' in told) throw errorOf(told as Failure)
  return told as T
}
