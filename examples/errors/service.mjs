// Refuses, and takes its time: what callers see of it is in the client next door.
import { setTimeout as sleep } from 'node:timers/promises'
import { errors, Service } from '@micro/core'

const service = new Service('accounts')

service.handle('Accounts.Balance', async (owner) => {
  if (!owner) throw new errors.InvalidArgument('owner is empty', { id: 'accounts' })
  if (owner !== 'ada') throw new errors.NotFound(`${owner} has no account`, { id: 'accounts' })
  return 1815
})

service.handle('Accounts.Audit', async (_, context) => {
  // The deadline travels with the call; a handler can see how much of it is left.
  console.log(`the caller waits another ${Math.round(context.remaining)} ms`)
  // When the caller no longer waits, the signal ends what the handler waits for.
  await sleep(60_000, undefined, { signal: context.signal })
})

await service.run()
