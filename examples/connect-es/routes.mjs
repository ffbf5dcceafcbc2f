import { Code, ConnectError } from '@connectrpc/connect'
import { Greeter } from './greeter_pb.js'

export const routes = (router) =>
  router.service(Greeter, {
    hello({ name }) {
      if (name === '') throw new ConnectError('a greeting needs a name', Code.InvalidArgument)
      return { message: `Hello, ${name}!` }
    },
    async *again({ name, times }) {
      for (let time = 1; time <= times; time++) yield { message: `${time}: hello, ${name}!` }
    },
    async together(requests) {
      const names = []
      for await (const { name } of requests) names.push(name)
      return { message: `Hello, ${names.join(' and ')}!` }
    },
    async *each(requests) {
      for await (const { name } of requests) yield { message: `Hello, ${name}!` }
    },
  })
