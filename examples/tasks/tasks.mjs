// Work that is sent, and whose answer is asked for later, by its id.
import { Client, Service } from '@micro/core'

const [what, argument] = process.argv.slice(2)

if (what === undefined) {
  const service = new Service('calculator')
  service.task('double', (number) => 2 * number, { maxAttempts: 3 })
  await service.run()
} else {
  const client = new Client()
  if (what === 'send') {
    console.log(await client.task('double', Number(argument)))
  } else {
    console.log((await client.taskState(argument)).state)
    console.log(await client.taskResult(argument, { timeout: 60_000 }))
  }
  client.close()
}
