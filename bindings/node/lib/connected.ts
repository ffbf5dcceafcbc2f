/** Headers and errors of Connect, as this package has them, and the other way round. */
import { create, toBinary } from '@bufbuild/protobuf'
import { type Code as ConnectCode, ConnectError } from '@connectrpc/connect'
import { classOf, type Detail, MicroError } from './errors.js'
import type { Metadata, MetadataValue } from './metadata.js'

const TYPES = 'type.googleapis.com/'

/** Adds metadata to headers, in which bytes are base64. */
export function append(headers: Headers, metadata: Metadata): Headers {
  for (const [name, value] of metadata) {
    headers.append(name, typeof value === 'string' ? value : Buffer.from(value).toString('base64').replace(/=+$/, ''))
  }
  return headers
}

/** Metadata of headers. */
export function pairsOf(headers: Headers): [string, MetadataValue][] {
  const out: [string, MetadataValue][] = []
  for (const [name, value] of headers) {
    if (!name.endsWith('-bin')) out.push([name, value])
    // Headers join values under one name.
    else for (const one of value.split(',')) out.push([name, Buffer.from(one.trim(), 'base64')])
  }
  return out
}

/** What a call ended with, as Connect's callers expect it. What it came from is its `cause`. */
export function connectError(error: unknown): ConnectError {
  if (!(error instanceof MicroError)) return ConnectError.from(error)
  const metadata = append(append(new Headers(), error.headers), error.trailers)
  const found = new ConnectError(error.detail, error.code as number as ConnectCode, metadata, undefined, error)
  found.details = error.details.map(({ typeUrl, value }) => ({
    type: typeUrl.slice(typeUrl.lastIndexOf('/') + 1),
    value,
  }))
  return found
}

/** What a handler of Connect threw, as it is sent, and the metadata that comes along. */
export function microError(error: unknown): [unknown, Headers] {
  if (!(error instanceof ConnectError) || error instanceof MicroError) return [error, new Headers()]
  const details = error.details.map((detail): Detail => {
    if (!('desc' in detail)) return { typeUrl: TYPES + detail.type, value: detail.value }
    const { desc, value } = detail
    return { typeUrl: TYPES + desc.typeName, value: toBinary(desc, create(desc, value)) }
  })
  return [new (classOf(error.code))(error.rawMessage, { details, cause: error }), error.metadata]
}
