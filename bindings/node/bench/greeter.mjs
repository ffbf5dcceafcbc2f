// Servers that are measured: `node greeter.mjs KIND` prints its address, and serves until its standard input ends. KIND is
// `micro` or `grpc`, which is @grpc/grpc-js. Both answer `/bench.Echo/Call` with the bytes they were sent.

/** A stream of as many messages of 1 KiB as the request says. */
const MESSAGE = Buffer.alloc(1024)

async function micro() {
  const { Service } = await import('@micro/core')
  const service = new Service('echo', { registry: 'memory://bench', address: '127.0.0.1:0', propagation: 0 })
  service.handle('Echo.Call', async (request) => request)
  service.serverStream('Echo.Stream', async function* (request) {
    for (let left = Number(request.toString()); left > 0; left--) yield MESSAGE
  })
  await service.start()
  return [service.address, () => service.stop()]
}

async function grpc() {
  const { Server, ServerCredentials } = await import('@grpc/grpc-js')
  const same = (bytes) => bytes
  const coding = {
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
    requestStream: false,
  }
  const definition = {
    call: { path: '/bench.Echo/Call', responseStream: false, ...coding },
    stream: { path: '/bench.Echo/Stream', responseStream: true, ...coding },
  }
  const server = new Server()
  server.addService(definition, {
    call: async ({ request }, done) => done(null, request),
    stream: async (call) => {
      for (let left = Number(call.request.toString()); left > 0; left--) {
        if (!call.write(MESSAGE)) await new Promise((more) => call.once('drain', more))
      }
      call.end()
    },
  })
  const port = await new Promise((bound, failed) => {
    const told = (error, port) => (error ? failed(error) : bound(port))
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), told)
  })
  return [`127.0.0.1:${port}`, () => server.forceShutdown()]
}

const [address, stop] = await { micro, grpc }[process.argv[2]]()
console.log(`listening ${address}`)
process.stdin.resume()
process.stdin.once('end', stop)
