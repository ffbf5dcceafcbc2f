import { Service } from '@micro/core'
import { addService } from '@micro/core/grpc'
import { Greeter, implementation } from './greeter.mjs'

const service = new Service('greeter')
addService(service, Greeter.service, implementation)
await service.run()
