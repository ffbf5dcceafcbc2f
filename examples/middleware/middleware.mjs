// Functions around calls, on both sides, and around the start and the stop of a service.
import { Client, errors, Service } from '@micro/core'

const shop = new Service('shop', { registry: 'memory://shop', network: 'memory://shop' })
const client = new Client({ registry: 'memory://shop', network: 'memory://shop' })

shop.handle('Shop.Buy', async (pieces, context) => `${pieces} pieces, to ${context.metadata.get('tenant')}`)

shop.serverStream('Shop.Prices', async function* (pieces) {
  for (let piece = 1; piece <= pieces; piece++) yield 3 * piece
})

shop.use(async (context, next) => {
  try {
    const reply = await next()
    console.log(`${context.endpoint}: fine`)
    return reply
  } catch (error) {
    console.log(`${context.endpoint}: ${error.detail}`)
    throw error
  }
})

shop.use(
  async (context, next) => {
    if (context.request === 0) throw new errors.InvalidArgument('pieces: order at least one')
    return await next()
  },
  { endpoints: ['Shop.Buy'] },
)

client.use(async (call, next) => {
  call.options.metadata ??= { tenant: 'blue' }
  return await next()
})

client.use(async (call, next) => {
  const replies = await next()
  return call.shape === 'server_stream' ? doubled(replies) : replies
})

async function* doubled(replies) {
  for await (const reply of replies) yield 2 * reply
}

shop.beforeStart(async () => console.log('connects to the database'))
shop.afterStop(() => console.log('and lets it go'))

await shop.start()
console.log(await client.call('shop', 'Shop.Buy', 2))
try {
  await client.call('shop', 'Shop.Buy', 0)
} catch (error) {
  console.log(error.detail)
}
const prices = []
for await (const price of client.serverStream('shop', 'Shop.Prices', 3)) prices.push(price)
console.log(prices)
client.close()
await shop.stop()
