// A shop that cleans up by the clock, once in the fleet, and refreshes what each node has by itself.
import { Service } from '@micro/core'

const { CLEAN_UP = '0 3 * * *' } = process.env

const service = new Service('shop')
service.cron(CLEAN_UP, ({ attempt }) => console.log(`cleaned, attempt ${attempt}`), {
  name: 'clean',
  zone: 'Europe/Berlin',
  missed: 'once',
  timeout: '10m',
  maxAttempts: 3,
})
service.every('1s', () => console.log('refreshed'), { name: 'refresh', scope: 'node' })
await service.run()
