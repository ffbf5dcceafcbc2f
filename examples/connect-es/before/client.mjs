import { Code, ConnectError, createClient } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import { Greeter } from '../greeter_pb.js'

const transport = createConnectTransport({ baseUrl: 'http://localhost:50051', httpVersion: '2' })
const greeter = createClient(Greeter, transport)

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
