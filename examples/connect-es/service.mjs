import { Service } from '@micro/core'
import { connectRoutes } from '@micro/core/connect'
import { routes } from './routes.mjs'

await connectRoutes(new Service('greeter'), routes).run()
