/** Metadata and statuses of grpc-js, as this package has them, and the other way round. */
import { Metadata as GrpcMetadata, type StatusObject, status } from '@grpc/grpc-js'
import { classOf, type Detail, MicroError, Unknown } from './errors.js'
import type { Metadata, MetadataValue } from './metadata.js'

/** The trailer with a `google.rpc.Status`. */
const DETAILS = 'grpc-status-details-bin'

/** What grpc-js takes for text. */
const PRINTABLE = /^[ -~]*$/

/** Metadata as grpc-js has it; text that it refuses is left out. */
export function grpcMetadata(...all: Metadata[]): GrpcMetadata {
  const out = new GrpcMetadata()
  for (const metadata of all) {
    for (const [name, value] of metadata) {
      if (typeof value !== 'string') out.add(name, Buffer.from(value))
      else if (PRINTABLE.test(value)) out.add(name, value)
    }
  }
  return out
}

/** Names and values of metadata of grpc-js, except the details of a status. */
export function pairsOf(metadata: GrpcMetadata | null | undefined): [string, MetadataValue][] {
  if (!metadata) return []
  const names = Object.keys(metadata.getMap()).filter((name) => name !== DETAILS)
  return names.flatMap((name) => metadata.get(name).map((value): [string, MetadataValue] => [name, value]))
}

/** The status of a call that failed. */
export function statusOf(error: unknown): StatusObject {
  if (!(error instanceof MicroError)) {
    const details = error instanceof Error ? error.message : String(error)
    return { code: status.UNKNOWN, details, metadata: new GrpcMetadata() }
  }
  const metadata = grpcMetadata(error.headers, error.trailers)
  if (error.details.length > 0) metadata.set(DETAILS, written(error.code, error.detail, error.details))
  return { code: error.code as number as status, details: error.detail, metadata }
}

/** What a handler of grpc-js ends a call with, as it is sent. */
export function errorOf(given: unknown, trailer?: GrpcMetadata | null): [MicroError, [string, MetadataValue][]] {
  if (given instanceof MicroError) return [given, pairsOf(trailer)]
  const { code, details, message, metadata } = given as Partial<StatusObject> & { message?: unknown }
  const said = typeof message === 'string' ? message : 'Unknown Error'
  const sent = trailer ?? metadata
  const [block] = sent?.get(DETAILS) ?? []
  const own = { details: Buffer.isBuffer(block) ? read(block) : [] }
  if (typeof code !== 'number' || !Number.isInteger(code)) return [new Unknown(said, own), pairsOf(sent)]
  return [new (classOf(code))(typeof details === 'string' ? details : said, own), pairsOf(sent)]
}

/** A `google.rpc.Status`: its code, its message, and each detail as an `Any`. */
function written(code: number, message: string, details: readonly Detail[]): Buffer {
  const anys = details.map(({ typeUrl, value }) =>
    field(3, Buffer.concat([field(1, Buffer.from(typeUrl)), field(2, Buffer.from(value))])),
  )
  return Buffer.concat([Buffer.of(0x08), varint(code), field(2, Buffer.from(message)), ...anys])
}

function field(number: number, value: Buffer): Buffer {
  return value.length === 0 ? value : Buffer.concat([Buffer.of((number << 3) | 2), varint(value.length), value])
}

function varint(number: number): Buffer {
  const out: number[] = []
  let left = number
  for (; left > 0x7f; left = Math.floor(left / 128)) out.push((left % 128) | 0x80)
  return Buffer.from([...out, left])
}

/** The details of a `google.rpc.Status`; none of what is no such message. */
function read(block: Buffer): Detail[] {
  const out: Detail[] = []
  try {
    for (const [number, inner] of fields(block)) {
      if (number !== 3) continue
      const parts = new Map(fields(inner))
      out.push({ typeUrl: parts.get(1)?.toString('utf8') ?? '', value: parts.get(2) ?? Buffer.alloc(0) })
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    return []
  }
  return out
}

/** Fields with a length. Throws `RangeError` for what is no message. */
function* fields(block: Buffer): Generator<[number, Buffer]> {
  let at = 0
  const number = () => {
    for (let [value, scale] = [0, 1]; ; scale *= 128) {
      const byte = block.readUInt8(at++)
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
  }
  while (at < block.length) {
    const tag = number()
    const kind = tag % 8
    if (kind === 0) {
      number()
      continue
    }
    const length = kind === 2 ? number() : kind === 1 ? 8 : kind === 5 ? 4 : Number.POSITIVE_INFINITY
    if (at + length > block.length) throw new RangeError('cut off')
    if (kind === 2) yield [Math.floor(tag / 8), block.subarray(at, at + length)]
    at += length
  }
}
