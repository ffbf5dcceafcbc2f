import { Code, ConnectError, createClient } from '@connectrpc/connect'
import { Client } from '@micro/core'
import { microTransport } from '@micro/core/connect'
import { Greeter } from './greeter_pb.js'

const client = new Client()
const greeter = createClient(Greeter, microTransport(client, 'greeter'))

const people = async function* () {
  yield { name: 'Ada' }
  yield { name: 'Grace' }
}

console.log((await greeter.hello({ name: 'Ada' }, { timeoutMs: 5000 })).message)
for await (const { message } of greeter.again({ name: 'Ada', times: 2 })) console.log(message)
console.log((await greeter.together(people())).message)
for await (const { message } of greeter.each(people())) console.log(message)
try {
  await greeter.hello({})
} catch (error) {
  console.log(Code[ConnectError.from(error).code], ConnectError.from(error).rawMessage)
}
