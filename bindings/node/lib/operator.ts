/** What the operator of a program says of its service: flags, variables, a document. */
import { Cancelled, given, InvalidArgument } from './errors.js'
import { native } from './native.js'
import { document } from './options.js'

/** A setting of a service, its value, and what set it. */
export interface Setting {
  /** As in a document, such as `client.timeout`. */
  key: string
  /** As a document has it; secrets are left out. */
  value: string
  /** What set it. */
  kind: 'default' | 'code' | 'document' | 'variable' | 'flag'
  /** Which one: the name of the flag, the variable or the document. */
  source: string
}

/** @internal Every setting of a service with these options, as a start would find them now. */
export function explained(name: string, options: object): Setting[] {
  return JSON.parse(given(native.explain(name, document(options)))) as Setting[]
}

/**
 * @internal The option that hands the flags of the program over; none where they are left to the program. Help and the version
 * are printed and end the program with 0; what is wrong is, and ends it with 2.
 */
export function flags(name: string, options: object, argv: boolean | readonly string[]): { args?: string[] } {
  if (argv === false) return {}
  const given = argv === true ? process.argv.slice(2) : argv
  if (!Array.isArray(given) || !given.every((one) => typeof one === 'string')) {
    throw new TypeError('argv: give true for the flags of the program, or a list of texts without its name')
  }
  const args = [...given]
  try {
    explained(name, { ...options, args })
  } catch (error) {
    if (error instanceof Cancelled) {
      console.log(error.detail)
      process.exit(0)
    }
    if (!(error instanceof InvalidArgument)) throw error
    console.error(`${name}: ${error.detail}`)
    process.exit(2)
  }
  return { args }
}
