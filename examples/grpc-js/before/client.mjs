import { promisify } from 'node:util'
import grpc from '@grpc/grpc-js'
import { Greeter } from '../greeter.mjs'

const greeter = new Greeter('localhost:50051', grpc.credentials.createInsecure())

const hello = promisify(greeter.hello.bind(greeter))
console.log((await hello({ name: 'Ada' })).message)
for await (const { message } of greeter.again({ name: 'Ada', times: 2 })) console.log(message)

const together = await new Promise((resolve, reject) => {
  const call = greeter.together((error, reply) => (error ? reject(error) : resolve(reply)))
  for (const name of ['Ada', 'Grace']) call.write({ name })
  call.end()
})
console.log(together.message)

const each = greeter.each()
for (const name of ['Ada', 'Grace']) each.write({ name })
each.end()
for await (const { message } of each) console.log(message)

await hello({}).catch(({ code, details }) => console.log(grpc.status[code], details))
greeter.close()
