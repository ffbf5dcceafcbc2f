// What is asked beside calls, and what is followed: each a method of the package.
import { errors } from '@micro/core'

/** The answer as JSON; `undefined` where there is none. */
export async function ask(client, operation, args, options) {
  switch (operation) {
    case 'client.health':
      return await client.health(args.service, options)
    case 'client.nodes':
      return (await client.nodes(args.service, options)).map(({ inFlight, latency, ...rest }) => ({
        ...rest,
        in_flight: inFlight,
        latency_ms: latency ?? null,
      }))
    case 'client.stats':
      return await client.stats(options)
    case 'registry.get':
      return await client.lookup(args.service, options)
    case 'registry.list':
      return await client.services(options)
    case 'registry.register':
      return await client.register(args.service, args.ttl === undefined ? options : { ...options, ttl: args.ttl })
    case 'registry.deregister':
      return await client.deregister(args.service, options)
  }
  throw new errors.InvalidArgument(`nothing is asked by \`${operation}\``)
}

/** The arguments of a question, and the options of its method. */
export function argumentsOf(line, signal) {
  const timeout = line.get('timeout')
  return [line.settings('args'), timeout === '' ? { signal } : { signal, timeout: Number(timeout) }]
}

/** How an answer is told. */
export function told(answer) {
  return answer === undefined ? [] : [['answer', JSON.stringify(answer)]]
}
