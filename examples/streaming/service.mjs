// The three kinds of stream: many replies, many requests, and both at once.
import { Service } from '@micro/core'

const service = new Service('numbers')

service.serverStream('Numbers.Count', async function* (to) {
  for (let number = 1; number <= to; number++) yield number
})

service.clientStream('Numbers.Sum', async (numbers) => {
  let sum = 0
  for await (const number of numbers) sum += number
  return sum
})

service.bidiStream('Numbers.Double', async function* (numbers) {
  for await (const number of numbers) yield number * 2
})

await service.run()
