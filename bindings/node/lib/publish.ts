/** Messages on their way out. */
import { codecNumber, encode, leaving } from './codec.js'
import { WrongArgument } from './errors.js'
import { pack } from './metadata.js'
import { type Failure, type NativeClient, type NativeQueue, WAIT } from './native.js'
import { document, milliseconds, type TypedPublish } from './options.js'

/** Hands a message to the native part; with `isTask`, one whose answer can be asked for. */
export function publish<Out>(
  client: NativeClient,
  queue: NativeQueue,
  token: number,
  topic: string,
  message: Out,
  options: TypedPublish<Out>,
  parent: number,
  isTask = false,
): number | Failure {
  const { format, codec: name, metadata, timeout, signal: _, detached = false, ...rest } = options
  const codec = codecNumber(name, message, format)
  encode(message, codec, format, 'the message', WrongArgument)
  const { bytes, length } = leaving
  const [meta, limit, within] = [pack(metadata), milliseconds(timeout), detached ? 0 : parent]
  const terms = document(isTask ? { ...rest, task: true } : rest)
  return client.publish(queue, token, topic, bytes, length, meta, limit, within, terms, codec | WAIT)
}
