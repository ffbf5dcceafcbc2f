// The same package, for a program that is no ES module.
import { type Client, Service } from '@micro/core'

import testing = require('@micro/core/testing')

export async function run(): Promise<string> {
  const fleet = new testing.Fleet()
  await fleet.start(new Service('greeter').handle('Greeter.Hello', () => 'hello'))
  const client: Client = fleet.client
  return await client.call<string>('greeter', 'Greeter.Hello')
}
