/** Events of CloudEvents 1.0 in binary mode: what an event says of itself is in headers, and the message is its data. */
import { InvalidArgument } from './errors.js'
import type { Metadata } from './metadata.js'

/** What a message says of itself as an event of CloudEvents 1.0, in headers such as `ce-id` and `ce-type`. */
export interface CloudEvent {
  /** Where it happened, as a reference to it, such as `/shop` or `https://example.com/shop`. */
  source: string
  /** What happened, such as `com.example.order.placed`. */
  type: string
  /** Tells it from the others of its source: the id of the message unless set, and a random one where that has none. */
  id?: string
  /** What it happened to, within its source. */
  subject?: string
  /** When it happened: now, unless set. */
  time?: Date
  /** All other attributes, such as `dataschema`, by their names of 1 to 20 lower-case letters and digits. */
  attributes?: Readonly<Record<string, string>>
}

/** @internal What metadata say of an event; `undefined` where there is none. */
export function eventOf(metadata: Metadata): CloudEvent | undefined {
  const wrong = (why: string) => new InvalidArgument(`the message is no CloudEvent: ${why}`, { id: 'micro' })
  const said = new Map<string, string>()
  for (const [name, value] of metadata) {
    if (!name.startsWith('ce-') || typeof value !== 'string') continue
    try {
      said.set(name.slice(3), decodeURIComponent(value))
    } catch {
      throw wrong(`its header ${name} is no UTF-8`)
    }
  }
  const take = (name: string) => {
    const value = said.get(name)
    said.delete(name)
    return value
  }
  const needed = (name: string) => {
    const value = take(name)
    if (value === undefined) throw wrong(`it has no header ce-${name}`)
    return value
  }
  const version = take('specversion')
  if (version === undefined) return undefined
  if (!version.startsWith('1.')) throw wrong(`it is of version ${version}, and not of 1.0`)
  const event: CloudEvent = { id: needed('id'), source: needed('source'), type: needed('type') }
  const [subject, time] = [take('subject'), take('time')]
  if (subject !== undefined) event.subject = subject
  if (time !== undefined) {
    event.time = new Date(time)
    if (Number.isNaN(event.time.getTime())) throw wrong(`its time ${time} is none of RFC 3339`)
  }
  if (said.size > 0) event.attributes = Object.fromEntries(said)
  return event
}
