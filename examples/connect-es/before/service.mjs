import { createServer } from 'node:http2'
import { connectNodeAdapter } from '@connectrpc/connect-node'
import { routes } from '../routes.mjs'

createServer(connectNodeAdapter({ routes })).listen(50051, 'localhost')
