import { errors, Service } from '@micro/core'
import { handle } from '@micro/core/protobuf'
import { Greeter } from './greeter_pb.js'

const service = new Service('greeter')

handle(service, Greeter, {
  hello({ name }) {
    if (name === '') throw new errors.InvalidArgument('a greeting needs a name')
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

await service.run()
