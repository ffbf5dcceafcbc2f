// Reads a stream, sends a stream, and holds a conversation.
import { Client } from '@micro/core'

const client = new Client()

for await (const number of client.serverStream('numbers', 'Numbers.Count', 3)) {
  console.log(`counted ${number}`)
}

const total = await client.clientStream('numbers', 'Numbers.Sum', [1, 2, 3])
console.log(`the sum is ${total}`)

// Both directions are open at once: each request is sent after the reply to the last one.
const stream = client.bidiStream('numbers', 'Numbers.Double')
await stream.send(1)
for await (const twice of stream) {
  console.log(`twice ${twice / 2} is ${twice}`)
  if (twice < 10) await stream.send(twice)
  else stream.end()
}
