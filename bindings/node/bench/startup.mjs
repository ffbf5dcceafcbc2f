// Prints how many milliseconds a program takes over a bare one until it has served its first call.
import { spawnSync } from 'node:child_process'
import { performance } from 'node:perf_hooks'

const TIMES = 15
const SERVES = `
  import { Service } from '@micro/core'
  import { Fleet } from '@micro/core/testing'
  const fleet = new Fleet()
  await fleet.start(new Service('greeter').handle('Greeter.Hello', () => 'hello'))
  await fleet.client.call('greeter', 'Greeter.Hello')
  process.exit(0)
`

/** Milliseconds of the fastest of many runs. */
function best(text) {
  const times = Array.from({ length: TIMES }, () => {
    const begun = performance.now()
    const { status } = spawnSync(process.execPath, ['--input-type=module', '--eval', text], {
      cwd: import.meta.dirname,
    })
    if (status !== 0) throw new Error(`it ended with ${status}`)
    return performance.now() - begun
  })
  return Math.min(...times)
}

console.log(JSON.stringify({ value: best(SERVES) - best('process.exit(0)') }))
