// Calls the greeter by its name, wherever it runs.
import { Client } from '@micro/core'

const client = new Client()
console.log(await client.call('greeter', 'Greeter.Hello', { name: 'Ada' }, { timeout: 2000 }))
