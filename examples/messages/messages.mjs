// Orders that are published, billed once whatever fails, and looked at when they cannot be.
import { Client, errors, Service } from '@micro/core'

const [order] = process.argv.slice(2)

const service = new Service('billing')
service.subscribe(
  'orders',
  async (order, { attempt }) => {
    if (order === 13) throw new errors.FailedPrecondition('the card was refused')
    console.log(`order ${order}, attempt ${attempt}`)
  },
  { queue: 'billing', maxAttempts: 3 },
)
service.subscribe(
  'orders.dead',
  (order, { metadata }) => {
    console.log(`order ${order} was given up: ${metadata.get('micro-dead-reason')}`)
  },
  { queue: 'people' },
)

if (order === undefined) {
  await service.run()
} else {
  const client = new Client()
  await client.publish('orders', Number(order), { metadata: { tenant: 'blue' } })
  client.close()
}
