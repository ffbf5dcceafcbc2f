// Every failure is an error that says what, where and how often it was tried.
import { Client, errors } from '@micro/core'

const client = new Client()

console.log('ada has', await client.call('accounts', 'Accounts.Balance', 'ada'))

// What the handler refused with arrives as it was: code, detail, and the id it gave itself.
try {
  await client.call('accounts', 'Accounts.Balance', 'bob')
} catch (error) {
  if (!(error instanceof errors.NotFound)) throw error
  tell(error, 'look for something else')
}

// A deadline holds on both sides: the caller stops waiting, and the handler's signal is aborted.
try {
  await client.call('accounts', 'Accounts.Audit', undefined, { timeout: 100 })
} catch (error) {
  if (!(error instanceof errors.DeadlineExceeded)) throw error
  tell(error, 'give it more time')
}

// A service that was not started.
try {
  await client.call('payments', 'Payments.Pay')
} catch (error) {
  if (error.reason !== 'no_nodes') throw error
  tell(error, 'start it, or waitForReady')
}

function tell(error, advice) {
  // Where the call went is known of every error a client throws.
  console.log(`${error.status} ${error.id}: ${error.detail} (${error.attempts} attempts; ${advice})`)
}
