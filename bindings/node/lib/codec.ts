/** What can be a message, and what it is on the wire. */
import { given, type Internal, type InvalidArgument, type MicroError, WrongArgument } from './errors.js'
import { native } from './native.js'

/** What a message is on the wire: one of these, or one that `addCodec` has added. */
export type Codec = 'proto' | 'json' | 'bytes' | 'text' | (string & {})

/**
 * How messages of one type are written and read: what a code generator makes for it. Without one, a message is bytes or
 * whatever can be JSON.
 */
export interface Format<T> {
  /** The codec of calls that name no other; `proto` unless said. */
  readonly codec?: Codec
  /** The message's type, as descriptors and registries name it. */
  readonly typeName?: string
  /** The bytes of a message in the codec of the call. */
  encode(message: T, codec: Codec): Uint8Array | string
  /** A message of bytes, which are the reader's to keep. */
  decode(bytes: Buffer, codec: Codec): T
}

/** A format of whatever type. */
// biome-ignore lint/suspicious/noExplicitAny: who uses it gives it what it writes
export type AnyFormat = Format<any>

/** Messages that are bytes, whatever the codec of the call. */
export const raw: Format<Uint8Array> = {
  encode: (message) => {
    if (!(message instanceof Uint8Array)) throw new TypeError(`it is ${kindOf(message)}: give a Uint8Array`)
    return message
  },
  decode: (bytes) => bytes,
}

/** By their numbers. */
const CODECS: (Codec | undefined)[] = ['proto', 'json', 'bytes', 'text']
const added = new Map<number, AddedCodec>()

/** How messages of a content type are written and read. */
export interface AddedCodec {
  /** The bytes of whatever JSON has, and of what else the content type can say. */
  encode(message: unknown): Uint8Array
  /** The message of bytes, which are the reader's to keep. */
  decode(bytes: Buffer): unknown
}

/**
 * Adds a content type to those of the process: `application/grpc+<name>`, and Connect's `application/<name>`. Services take it
 * from then on, and calls speak it with `codec: '<name>'`. A name that is there is replaced. Throws `InvalidArgument` for what
 * cannot be a name, and `ResourceExhausted` for the thirteenth.
 */
export function addCodec(name: string, codec: AddedCodec): void {
  const number = given(native.declareCodec(name))
  CODECS[number] = name
  added.set(number, codec)
}
/** The bits of a codec, in the flags of messages. */
export const PROTO = 0
export const JSON_CODEC = 1
export const TEXT = 3
export const CODEC = 0xf

/** The codec of flags. */
export function codecOf(flags: number): Codec {
  return CODECS[flags & CODEC] ?? 'proto'
}

/** The number of a codec: the one asked for, or what the message suggests. */
export function codecNumber(name: Codec | undefined, message: unknown, format?: AnyFormat): number {
  if (name === undefined) {
    if (format) return CODECS.indexOf(format.codec ?? 'proto')
    return message instanceof Uint8Array ? PROTO : JSON_CODEC
  }
  const number = CODECS.indexOf(name)
  if (number < 0) {
    throw new WrongArgument(
      `codec ${JSON.stringify(name)} is unknown: write "json", "proto", "bytes" or "text", or add it with addCodec`,
    )
  }
  return number
}

/** Where texts are written on their way out; whoever reads it does so before the next is written. */
const out = Buffer.allocUnsafeSlow(64 * 1024)

/** A message that is about to leave: the first `length` of `bytes`. One for all, to be used at once. */
export const leaving: { bytes: Uint8Array; length: number } = { bytes: out, length: 0 }

function leave(bytes: Uint8Array): true {
  leaving.bytes = bytes
  leaving.length = bytes.length
  return true
}

function leaveText(text: string): true {
  // A letter of JavaScript takes three bytes at most.
  if (text.length * 3 > out.length) return leave(Buffer.from(text))
  leaving.bytes = out
  leaving.length = out.write(text, 0)
  return true
}

/** Nothing leaves. */
export function leaveNothing(): void {
  leaving.length = 0
}

/** Makes a message leave in a codec. `what` is named by the error when that cannot be. */
export function encode(
  message: unknown,
  flags: number,
  format: AnyFormat | undefined,
  what: string,
  kind: typeof WrongArgument | typeof Internal,
): void {
  const codec = flags & CODEC
  let written = false
  try {
    written = format ? formatted(message, codec, format) : plain(message, codec)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new kind(`${what} is ${kindOf(message)}, which cannot be sent: ${why}`, { id: 'micro', cause })
  }
  if (!written) throw unsendable(message, codecOf(codec), what, kind)
}

function formatted(message: unknown, codec: number, format: AnyFormat): boolean {
  const written = format.encode(message, codecOf(codec))
  return typeof written === 'string' ? leaveText(written) : leave(written)
}

/** False for what the codec has no words for. */
function plain(message: unknown, codec: number): boolean {
  if (message instanceof Uint8Array) return leave(message)
  if (codec === JSON_CODEC) {
    const text = JSON.stringify(message === undefined ? null : message)
    return text !== undefined && leaveText(text)
  }
  const own = added.get(codec)
  if (own) return leave(own.encode(message))
  return codec === TEXT && typeof message === 'string' && leaveText(message)
}

function unsendable(message: unknown, codec: Codec, what: string, kind: new (...a: never[]) => MicroError): MicroError {
  const make = kind as unknown as typeof Internal
  if (message === undefined) return new make(`${what} is undefined: is a \`return\` missing?`, { id: 'micro' })
  const hint: Record<string, string> = {
    json: 'an object, a list, text or a number',
    text: 'text',
    bytes: 'a Uint8Array',
    proto: 'a Uint8Array',
  }
  return new make(
    `${what} is ${kindOf(message)}, but the call speaks ${codec}: give ${hint[codec] ?? 'a Uint8Array'}`,
    { id: 'micro' },
  )
}

function kindOf(message: unknown): string {
  if (message === null || message === undefined) return String(message)
  return typeof message === 'object' ? (message.constructor?.name ?? 'an object') : typeof message
}

/** Bytes that came in: text of them, and a copy to keep. */
export interface Arrived {
  text(): string
  bytes(): Buffer
  readonly flags: number
}

/** The message of bytes that came in. */
export function decode(
  arrived: Arrived,
  format: AnyFormat | undefined,
  what: string,
  kind: typeof Internal | typeof InvalidArgument,
): unknown {
  const codec = arrived.flags & CODEC
  try {
    if (format) return format.decode(arrived.bytes(), codecOf(codec))
    if (codec === JSON_CODEC) {
      const text = arrived.text()
      return text === '' ? undefined : JSON.parse(text)
    }
    const own = added.get(codec)
    if (own) return own.decode(arrived.bytes())
    return codec === TEXT ? arrived.text() : arrived.bytes()
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new kind(`${what} cannot be read as ${codecOf(codec)}: ${why}`, { id: 'micro', cause })
  }
}

/** The codec of a stream, of which the first request may be known. */
export function streamCodec(
  options: { codec?: Codec; request?: AnyFormat; returns?: AnyFormat },
  requests: unknown,
): number {
  if (options.codec !== undefined || options.request !== undefined) {
    return codecNumber(options.codec, undefined, options.request)
  }
  if (Array.isArray(requests) && requests.length > 0) return codecNumber(undefined, requests[0])
  return options.returns ? codecNumber(undefined, undefined, options.returns) : JSON_CODEC
}
