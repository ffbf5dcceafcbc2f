// Every example as a user runs it, and everything the documents show.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Client } from '@micro/core'
import { blocks, folder, program, ROOT, start } from './world.mjs'

const EXAMPLES = join(ROOT, 'examples')
const NAMES = { streaming: 'numbers', errors: 'accounts' }
const nameOf = (example) => NAMES[example] ?? 'greeter'

/** Runs the client of an example beside its service, which stops as it is told, and ends well. */
async function scenario(t, example) {
  const registry = `local://${await folder(t)}`
  const env = { MICRO_REGISTRY: registry, MICRO_SERVER_ADDRESS: '127.0.0.1:0' }
  const cwd = join(EXAMPLES, example)
  const client = new Client({ registry })
  const watch = await client.watch(nameOf(example))
  const service = start(t, process.execPath, ['service.mjs'], { cwd, env })
  assert.equal((await watch.next()).value.action, 'create')
  client.close()
  const said = await start(t, process.execPath, ['client.mjs'], { cwd, env }).well()
  service.child.kill('SIGTERM')
  const { code, err } = await service.end()
  assert.equal(code, 0)
  // What is said at the start.
  assert.match(err, new RegExp(`^[^\\n]*${nameOf(example)}[^\\n]*\\n$`))
  return said
}

test('the greeter greets', async (t) => {
  assert.match(await scenario(t, 'greeter'), /^Hello, Ada! I am process \d+\.\n$/)
})

test('streams go every way', async (t) => {
  assert.equal(
    await scenario(t, 'streaming'),
    'counted 1\ncounted 2\ncounted 3\nthe sum is 6\ntwice 1 is 2\ntwice 2 is 4\ntwice 4 is 8\ntwice 8 is 16\n',
  )
})

test('errors say what happened', async (t) => {
  const lines = (await scenario(t, 'errors')).split('\n')
  assert.deepEqual(lines.slice(0, 2), [
    'ada has 1815',
    'NOT_FOUND accounts: bob has no account (1 attempts; look for something else)',
  ])
  assert.match(lines[2], /^DEADLINE_EXCEEDED .*\(1 attempts; give it more time\)$/)
  assert.match(
    lines[3],
    /^UNAVAILABLE go.micro.client: service payments: not found: .* \(0 attempts; start it, or waitForReady\)$/,
  )
})

const GREETINGS = 'Hello, Ada!\n1: hello, Ada!\n2: hello, Ada!\nHello, Ada and Grace!\nHello, Ada!\nHello, Grace!\n'

test('what protobuf-es generates is called and served', async (t) => {
  assert.equal(await scenario(t, 'protobuf-es'), `${GREETINGS}INVALID_ARGUMENT a greeting needs a name\n`)
})

test('routes and clients of Connect run as they are', async (t) => {
  assert.equal(await scenario(t, 'connect-es'), `${GREETINGS}InvalidArgument a greeting needs a name\n`)
})

test('handlers and clients of grpc-js run as they are', async (t) => {
  assert.equal(await scenario(t, 'grpc-js'), `${GREETINGS}INVALID_ARGUMENT a greeting needs a name\n`)
})

test('a registry in JavaScript is found by its URL', async (t) => {
  const run = start(t, process.execPath, ['registry.mjs'], { cwd: join(EXAMPLES, 'registry') })
  assert.equal(await run.well(), 'Hello, Ada!\n')
})

test('middleware sees every call', async (t) => {
  const run = start(t, process.execPath, ['middleware.mjs'], { cwd: join(EXAMPLES, 'middleware') })
  assert.deepEqual((await run.well()).trim().split('\n'), [
    'connects to the database',
    'Shop.Buy: fine',
    '2 pieces, to blue',
    'Shop.Buy: pieces: order at least one',
    'pieces: order at least one',
    'Shop.Prices: fine',
    '[ 6, 12, 18 ]',
    'and lets it go',
  ])
})

test('orders are billed, also those that were published before, and given up with a reason', async (t) => {
  const broker = `durable://${await folder(t)}`
  const env = {
    MICRO_REGISTRY: `local://${await folder(t)}`,
    MICRO_SERVER_ADDRESS: '127.0.0.1:0',
    MICRO_BROKER: broker,
  }
  const run = (...args) =>
    start(t, process.execPath, ['messages.mjs', ...args], { cwd: join(EXAMPLES, 'messages'), env })
  const first = run()
  // Messages of before it has subscribed are not for a queue that is new.
  for (let order = 100; !first.out.includes('order 10'); order++) await run(String(order)).well()
  first.child.kill('SIGTERM')
  assert.equal((await first.end()).code, 0)
  // Nothing runs that would bill these.
  for (const order of ['8', '13']) await run(order).well()
  const second = run()
  await second.says('order 8, attempt 1')
  await second.says('order 13 was given up: FAILED_PRECONDITION: the card was refused')
  second.child.kill('SIGTERM')
  assert.equal((await second.end()).code, 0)
})

test('jobs run by the clock, and the answer of a task is asked for by its id', async (t) => {
  const env = {
    MICRO_REGISTRY: `local://${await folder(t)}`,
    MICRO_SERVER_ADDRESS: '127.0.0.1:0',
    MICRO_BROKER: `durable://${await folder(t)}`,
    CLEAN_UP: '* * * * * *',
  }
  const run = (example, ...args) =>
    start(t, process.execPath, [`${example}.mjs`, ...args], { cwd: join(EXAMPLES, example), env })
  const shop = run('jobs')
  await shop.says('cleaned, attempt 1')
  await shop.says('refreshed')
  shop.child.kill('SIGTERM')
  assert.equal((await shop.end()).code, 0)
  const id = (await run('tasks', 'send', '21').well()).trim()
  run('tasks')
  const [, answer] = (await run('tasks', 'ask', id).well()).split('\n')
  assert.equal(answer, '42')
})

test('JavaScript in documents is an example, and the readme shows the greeter whole', async () => {
  const shown = await blocks('README.md', 'js')
  const whole = ['service.mjs', 'client.mjs'].map((name) => readFile(join(EXAMPLES, 'greeter', name), 'utf8'))
  assert.deepEqual(shown, await Promise.all(whole))
  const examples = []
  for (const example of await readdir(EXAMPLES)) {
    for (const name of await readdir(join(EXAMPLES, example)).catch(() => [])) {
      if (name.endsWith('.mjs')) examples.push(await readFile(join(EXAMPLES, example, name), 'utf8'))
    }
  }
  for (const page of await readdir(join(ROOT, 'docs'))) {
    if (page === 'node.md' || !page.endsWith('.md')) continue
    for (const block of await blocks(`docs/${page}`, 'js')) {
      assert(
        examples.some((example) => example.includes(block)),
        `${page} shows code that is in no example:\n${block}`,
      )
    }
  }
})

test('what pages say has to change is what changes', async () => {
  const text = await readFile(join(ROOT, 'docs/node-stubs.md'), 'utf8')
  const shown = [...text.matchAll(/```diff\n(--- (\S+)\n\+\+\+ (\S+)\n.*?)```/gs)]
  assert(shown.length >= 4)
  for (const [, block, before, after] of shown) {
    const { stdout } = spawnSync('diff', ['-u', '--label', before, '--label', after, before, after], {
      cwd: ROOT,
      encoding: 'utf8',
    })
    assert.equal(block, stdout.replace(/^ $/gm, ''), after)
  }
})

test('what the page of Node shows runs as printed', async (t) => {
  const shown = await blocks('docs/node.md', 'js')
  assert(shown.length >= 5)
  for (const block of shown.slice(1)) {
    const env = { MICRO_REGISTRY: 'memory://page', MICRO_SERVER_ADDRESS: '127.0.0.1:0' }
    const out = await (await program(t, block, { env })).well()
    const promised = [...block.matchAll(/\/\/> (.*)/g)].map(([, line]) => line)
    for (const line of promised) assert(out.split('\n').includes(line), `${line} is not in:\n${out}`)
  }
})

test('the first service of the page answers curl', async (t) => {
  const [service] = await blocks('docs/node.md', 'js')
  const [, , curl] = (await readFile(join(ROOT, 'docs/node.md'), 'utf8')).match(
    /```sh\n(MICRO_SERVER_ADDRESS.*?)\n(curl.*?)\n```/s,
  )
  const registry = `local://${await folder(t)}`
  const client = new Client({ registry })
  const watch = await client.watch('greeter')
  await program(t, service, { env: { MICRO_REGISTRY: registry, MICRO_SERVER_ADDRESS: '127.0.0.1:0' } })
  const { value } = await watch.next()
  client.close()
  const [{ address }] = value.service.nodes
  const run = start(t, 'sh', ['-c', curl.replace('localhost:8080', address).replace('curl ', 'curl -s ')])
  assert.equal(await run.well(), '"Hello, Ada of no tenant!"')
})

test('TypeScript of the page compiles', async (t) => {
  const [block] = await blocks('docs/node.md', 'ts')
  const place = join(ROOT, 'bindings/node/test', `.page-${process.pid}`)
  await mkdir(place)
  t.after(() => import('node:fs/promises').then(({ rm }) => rm(place, { recursive: true })))
  await writeFile(join(place, 'page.mts'), block)
  const options = {
    ...JSON.parse(await readFile(join(ROOT, 'bindings/node/test/tsconfig.json'), 'utf8')),
    include: ['page.mts'],
  }
  await writeFile(join(place, 'tsconfig.json'), JSON.stringify(options))
  const tsc = join(ROOT, 'bindings/node/node_modules/.bin/tsc')
  const { status, stdout } = spawnSync(tsc, ['--project', place], { encoding: 'utf8' })
  assert.equal(status, 0, stdout)
})
