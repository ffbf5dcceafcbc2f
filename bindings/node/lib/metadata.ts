/** Metadata: what is sent along with a message. */
import { endianness } from 'node:os'

/** A value: bytes under names that end in `-bin`, text under all others. */
export type MetadataValue = string | Uint8Array

/** What can be given as metadata: an object of names with one value or many, or pairs of a name and a value. */
export type MetadataLike =
  | Readonly<Record<string, MetadataValue | readonly MetadataValue[]>>
  | Iterable<readonly [string, MetadataValue]>

/** Names and values that came along with a message. Names are lower case, and looked up in any case. */
export class Metadata implements Iterable<readonly [string, MetadataValue]> {
  /** None at all. */
  static readonly none: Metadata = new Metadata([])

  /** Every name with its value, in the order they were sent. */
  readonly pairs: readonly (readonly [string, MetadataValue])[]

  constructor(pairs: Iterable<readonly [string, MetadataValue]> = []) {
    this.pairs = Array.from(pairs)
  }

  /** The first value under this name. */
  get(name: string): MetadataValue | undefined {
    const wanted = name.toLowerCase()
    return this.pairs.find(([known]) => known === wanted)?.[1]
  }

  /** Every value under this name, in the order they were sent. */
  getAll(name: string): MetadataValue[] {
    const wanted = name.toLowerCase()
    return this.pairs.filter(([known]) => known === wanted).map(([, value]) => value)
  }

  /** The first value under this name, if it is text. */
  text(name: string): string | undefined {
    const value = this.get(name)
    return typeof value === 'string' ? value : undefined
  }

  [Symbol.iterator](): Iterator<readonly [string, MetadataValue]> {
    return this.pairs[Symbol.iterator]()
  }
}

const LITTLE = endianness() === 'LE'
const NONE = Buffer.alloc(0)

/** A block of names and values as the native part takes it. Throws `TypeError` that names what cannot be metadata. */
export function pack(metadata: MetadataLike | undefined): Uint8Array {
  if (metadata === undefined || metadata === null) return NONE
  const entries: [Buffer, Buffer][] = []
  const add = (name: unknown, value: unknown) => {
    if (typeof name !== 'string') throw new TypeError(`a name of metadata is ${typeof name}: give text`)
    if (typeof value !== 'string' && !(value instanceof Uint8Array)) {
      throw new TypeError(`metadata \`${name}\` is ${typeof value}: give text, or bytes under a name that ends in -bin`)
    }
    entries.push([Buffer.from(name), typeof value === 'string' ? Buffer.from(value) : Buffer.from(value)])
  }
  if (typeof metadata !== 'object') throw new TypeError(`metadata is ${typeof metadata}: give an object or pairs`)
  if (Symbol.iterator in metadata) {
    for (const pair of metadata as Iterable<readonly [string, MetadataValue]>) {
      if (!Array.isArray(pair) || pair.length !== 2) {
        throw new TypeError('metadata is a list: give pairs of a name and a value')
      }
      add(pair[0], pair[1])
    }
  } else {
    for (const [name, value] of Object.entries(metadata)) {
      if (Array.isArray(value)) for (const one of value) add(name, one)
      else add(name, value)
    }
  }
  if (entries.length === 0) return NONE
  const size = entries.reduce((sum, [name, value]) => sum + 8 + name.length + value.length, 4)
  const block = Buffer.allocUnsafe(size)
  let at = number(block, entries.length, 0)
  for (const [name, value] of entries) {
    at = number(block, value.length, number(block, name.length, at))
    at += name.copy(block, at)
    at += value.copy(block, at)
  }
  return block
}

function number(block: Buffer, value: number, at: number): number {
  return LITTLE ? block.writeUInt32LE(value, at) : block.writeUInt32BE(value, at)
}

/** Headers and trailers of blocks that came in. */
export function unpack(blocks: Uint8Array | undefined): [Metadata, Metadata] {
  if (blocks === undefined || blocks.length === 0) return [Metadata.none, Metadata.none]
  const block = Buffer.from(blocks.buffer, blocks.byteOffset, blocks.length)
  let at = 0
  const read = () => {
    const value = LITTLE ? block.readUInt32LE(at) : block.readUInt32BE(at)
    at += 4
    return value
  }
  const list = () => {
    if (at >= block.length) return Metadata.none
    const pairs: [string, MetadataValue][] = []
    for (let left = read(); left > 0; left--) {
      const nameLength = read()
      const valueLength = read()
      const name = block.toString('utf8', at, at + nameLength)
      at += nameLength
      const value = block.subarray(at, at + valueLength)
      at += valueLength
      pairs.push([name, name.endsWith('-bin') ? Buffer.from(value) : value.toString('utf8')])
    }
    return new Metadata(pairs)
  }
  return [list(), list()]
}
