/** Clients and servers of grpc-js above this package. Needs `@grpc/grpc-js` 1.10 or newer. */
export { type ChannelOptions, createClient, microChannel } from './grpc-client.js'
export { addService, Server } from './grpc-server.js'
