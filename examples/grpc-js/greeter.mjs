import { fileURLToPath } from 'node:url'
import grpc from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'

const file = fileURLToPath(new URL('greeter.proto', import.meta.url))
export const { Greeter } = grpc.loadPackageDefinition(loadSync(file, { defaults: true })).demo.v1

export const implementation = {
  hello({ request: { name } }, callback) {
    if (name === '') callback({ code: grpc.status.INVALID_ARGUMENT, details: 'a greeting needs a name' })
    else callback(null, { message: `Hello, ${name}!` })
  },
  again(call) {
    const { name, times } = call.request
    for (let time = 1; time <= times; time++) call.write({ message: `${time}: hello, ${name}!` })
    call.end()
  },
  together(call, callback) {
    const names = []
    call.on('data', ({ name }) => names.push(name))
    call.on('end', () => callback(null, { message: `Hello, ${names.join(' and ')}!` }))
  },
  each(call) {
    call.on('data', ({ name }) => call.write({ message: `Hello, ${name}!` }))
    call.on('end', () => call.end())
  },
}
