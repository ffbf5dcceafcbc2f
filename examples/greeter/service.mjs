// Greets its callers, and says which process did.
import { Service } from '@micro/core'

const service = new Service('greeter')

service.handle('Greeter.Hello', async (request) => `Hello, ${request.name}! I am process ${process.pid}.`, {
  idempotent: true,
})

await service.run()
