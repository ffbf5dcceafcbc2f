import grpc from '@grpc/grpc-js'
import { Greeter, implementation } from '../greeter.mjs'

const server = new grpc.Server()
server.addService(Greeter.service, implementation)
server.bindAsync('localhost:50051', grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error
})
