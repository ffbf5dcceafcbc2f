import { Client } from '@micro/core'
import { typedClient } from '@micro/core/protobuf'
import { Greeter } from './greeter_pb.js'

const greeter = typedClient(Greeter, new Client(), 'greeter')
const people = [{ name: 'Ada' }, { name: 'Grace' }]

console.log((await greeter.hello({ name: 'Ada' }, { timeout: 5000 })).message)
for await (const { message } of greeter.again({ name: 'Ada', times: 2 })) console.log(message)
console.log((await greeter.together(people)).message)
for await (const { message } of greeter.each(people)) console.log(message)
try {
  await greeter.hello({})
} catch (error) {
  console.log(error.status, error.detail)
}
