import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client, errors } from '@micro/core'
import { folder, program, until } from './world.mjs'

const FLEET = `
  import { Client, context, errors, live, Service } from '@micro/core'
  import { Fleet } from '@micro/core/testing'
  const fleet = new Fleet()
  const service = new Service('host')
  service.handle('Host.Hello', async () => 'hello')
  service.handle('Host.Never', () => new Promise(() => undefined))
  await fleet.start(service)
`

test('a program with nothing under way ends by itself', async (t) => {
  for (const text of [
    `import '@micro/core'`,
    `import { Client } from '@micro/core'; new Client({ registry: 'memory://idle' })`,
    `${FLEET} await fleet.client.call('host', 'Host.Hello'); await fleet.close(); console.log('done')`,
    `import { Client, provide } from '@micro/core'
     import { InMemory } from '../../../examples/registry/registry.mjs'
     provide('mine', new InMemory())
     await new Client({ registry: 'host://mine' }).services()`,
    `import { Client } from '@micro/core'
     const client = new Client({ registry: 'memory://idle' })
     const watch = await client.watch()
     setTimeout(() => client.close(), 20)
     await watch.next().catch(() => undefined)`,
  ]) {
    const run = await program(t, text)
    const begun = performance.now()
    await run.well()
    assert(performance.now() - begun < 10_000, text)
  }
})

test('a call under way keeps the program alive until it is answered', async (t) => {
  const text = `
    ${FLEET}
    const client = fleet.newClient()
    client.call('host', 'Host.Never', {}, { timeout: 200 }).catch((error) => {
      console.log(error.status)
      process.exitCode = 0
      fleet.close()
    })
  `
  assert.equal(await (await program(t, text)).well(), 'DEADLINE_EXCEEDED\n')
})

test('process.exit ends a program at once, whatever is under way', async (t) => {
  const text = `
    ${FLEET}
    for (let n = 0; n < 100; n++) fleet.client.call('host', 'Host.Never', {}, { timeout: Infinity }).catch(() => undefined)
    fleet.client.serverStream('host', 'Host.Hello').next().catch(() => undefined)
    setInterval(() => fleet.client.call('host', 'Host.Hello').catch(() => undefined), 1)
    process.on('exit', () => console.log('exit'))
    setTimeout(() => process.exit(7), 100)
  `
  const { code, signal, out, err } = await (await program(t, text)).end()
  assert.deepEqual({ code, signal, out, err }, { code: 7, signal: null, out: 'exit\n', err: '' })
})

test('an exception that is not caught ends the program as any other', async (t) => {
  for (const thrown of [
    `setTimeout(() => { throw new Error('at large') }, 50)`,
    `Promise.reject(new Error('at large'))`,
  ]) {
    const text = `
      ${FLEET}
      setInterval(() => fleet.client.call('host', 'Host.Hello').catch(() => undefined), 1)
      ${thrown}
    `
    const { code, signal, err } = await (await program(t, text)).end()
    assert.deepEqual({ code, signal }, { code: 1, signal: null })
    assert.match(err, /at large/)
  }
})

test('what the callback of a call throws is an exception like any other, and the next event is told', async (t) => {
  const text = `
    ${FLEET}
    process.on('uncaughtException', (error) => console.log(error.message))
    fleet.client.call('host', 'Host.Hello').then(() => { throw new Error('at large') })
    await new Promise((done) => setTimeout(done, 100))
    console.log(await fleet.client.call('host', 'Host.Hello'))
    await fleet.close()
  `
  assert.equal(await (await program(t, text)).well(), 'at large\nhello\n')
})

const SERVED = `
  import { Service } from '@micro/core'
  const service = new Service('host', { propagation: 50, grace: 5000, quiet: true })
  service.handle('Host.Hello', async () => {
    await new Promise((done) => setTimeout(done, 2))
    return process.pid
  })
  service.handle('Host.Never', () => new Promise(() => undefined))
  service.afterStart(() => console.log('started'))
  await service.run()
  console.log('stopped')
`

test('SIGTERM under load stops a service in order: every call is answered', async (t) => {
  const registry = `local://${await folder(t)}`
  const env = { MICRO_REGISTRY: registry, MICRO_SERVER_ADDRESS: '127.0.0.1:0' }
  const [first, second] = [await program(t, SERVED, { env }), await program(t, SERVED, { env })]
  await Promise.all([first.says('started'), second.says('started')])
  const client = new Client({ registry })
  t.after(() => client.close())
  const [failed, served] = [[], new Map()]
  let stop = false
  const load = Array.from({ length: 16 }, async () => {
    while (!stop) {
      try {
        const pid = await client.call('host', 'Host.Hello', {}, { retries: 0, timeout: 10_000 })
        served.set(pid, (served.get(pid) ?? 0) + 1)
      } catch (error) {
        failed.push(error)
      }
    }
  })
  await until(() => served.size === 2)
  first.child.kill('SIGTERM')
  assert.match(await first.well(), /stopped/)
  const before = served.get(second.child.pid)
  await until(() => served.get(second.child.pid) > before + 100)
  stop = true
  await Promise.all(load)
  assert.deepEqual(failed.map(String), [])
  second.child.kill('SIGINT')
  assert.match(await second.well(), /stopped/)
})

test('a second signal cuts a service off', async (t) => {
  const registry = `local://${await folder(t)}`
  const env = { MICRO_REGISTRY: registry, MICRO_SERVER_ADDRESS: '127.0.0.1:0' }
  const run = await program(t, SERVED.replace('grace: 5000', 'grace: 60_000'), { env })
  await run.says('started')
  const client = new Client({ registry })
  t.after(() => client.close())
  const call = client.call('host', 'Host.Never', {}, { retry: 'never', timeout: 60_000 })
  call.catch(() => undefined)
  await until(async () => JSON.stringify(await client.nodes('host')).includes('"inFlight":1'))
  run.child.kill('SIGTERM')
  await new Promise((soon) => setTimeout(soon, 300))
  run.child.kill('SIGTERM')
  assert.match(await run.well(), /stopped/)
  await assert.rejects(call, errors.MicroError)
})

test('a service whose program exits without stopping it leaves its registry', async (t) => {
  const registry = `local://${await folder(t)}`
  const env = { MICRO_REGISTRY: registry, MICRO_SERVER_ADDRESS: '127.0.0.1:0' }
  const text = `${SERVED.replace('await service.run()', 'await service.start(); setTimeout(() => process.exit(0), 50)')}`
  const client = new Client({ registry })
  t.after(() => client.close())
  const watch = await client.watch('host')
  const run = await program(t, text, { env })
  assert.equal((await watch.next()).value.action, 'create')
  await run.well()
  assert.equal((await watch.next()).value.action, 'delete')
  await watch.return()
})

test('worker threads come and go, with calls under way, and others are not disturbed', async (t) => {
  const text = `
    ${FLEET}
    import { Worker } from 'node:worker_threads'
    const code = \`
      const { parentPort, workerData } = require('node:worker_threads')
      const { Client, Service } = require('@micro/core')
      const client = new Client(workerData)
      const service = new Service('inside', { ...workerData, address: '127.0.0.1:0' })
      service.handle('Inside.Hello', () => 'from inside')
      service.start().then(async () => {
        await client.call('host', 'Host.Hello')
        await client.call('inside', 'Inside.Hello')
        for (let n = 0; n < 20; n++) client.call('host', 'Host.Never', {}, { timeout: Infinity }).catch(() => undefined)
        const again = () => client.call('host', 'Host.Hello').then(again, () => undefined)
        for (let n = 0; n < 4; n++) again()
        parentPort.postMessage('up')
      })
    \`
    let answered = 0
    let stop = false
    const load = (async () => {
      while (!stop) {
        await fleet.client.call('host', 'Host.Hello', {}, { retries: 3 })
        answered++
      }
    })()
    for (let round = 0; round < 10; round++) {
      const workers = [1, 2, 3].map(() => new Worker(code, { eval: true, workerData: fleet.options }))
      await Promise.all(workers.map((worker) => new Promise((up, failed) => {
        worker.once('message', up)
        worker.once('error', failed)
      })))
      if (round % 2) await Promise.all(workers.map((worker) => worker.terminate()))
      else await Promise.all(workers.map((worker) => {
        const ended = new Promise((done) => worker.once('exit', done))
        worker.terminate()
        return ended
      }))
    }
    stop = true
    await load
    console.log(answered > 0)
    await fleet.close()
  `
  assert.equal(await (await program(t, text)).well(), 'true\n')
})

test('a worker thread that ends by itself ends what it has begun', async (t) => {
  const text = `
    ${FLEET}
    import { Worker } from 'node:worker_threads'
    const code = \`
      const { workerData } = require('node:worker_threads')
      const { Client } = require('@micro/core')
      const client = new Client(workerData)
      for (let n = 0; n < 10; n++) client.call('host', 'Host.Never', {}, { timeout: Infinity }).catch(() => undefined)
      client.call('host', 'Host.Hello').then(() => process.exit(3))
    \`
    const worker = new Worker(code, { eval: true, workerData: fleet.options })
    console.log(await new Promise((ended) => worker.once('exit', ended)))
    for (let round = 0; live(6) > 0 && round < 1000; round++) await new Promise((again) => setTimeout(again, 5))
    console.log(live(6))
    await fleet.close()
  `
  assert.equal(await (await program(t, text)).well(), '3\n0\n')
})

test('cluster: the workers of a program are nodes of its service', async (t) => {
  const registry = `local://${await folder(t)}`
  const env = { MICRO_REGISTRY: registry, MICRO_SERVER_ADDRESS: '127.0.0.1:0' }
  const text = `
    import cluster from 'node:cluster'
    import { Client, Service } from '@micro/core'
    if (cluster.isPrimary) {
      const client = new Client()
      for (let n = 0; n < 3; n++) cluster.fork()
      const seen = new Set()
      while (seen.size < 3) {
        seen.add(await client.call('host', 'Host.Pid', {}, { waitForReady: true, timeout: 20_000, strategy: 'random' }))
      }
      const mine = new Set(Object.values(cluster.workers).map((worker) => worker.process.pid))
      console.log([...seen].every((pid) => mine.has(pid)))
      for (const worker of Object.values(cluster.workers)) worker.kill('SIGTERM')
    } else {
      const service = new Service('host', { propagation: 0, quiet: true })
      service.handle('Host.Pid', () => process.pid)
      await service.run()
      process.exit(0)
    }
  `
  assert.equal(await (await program(t, text, { env })).well(), 'true\n')
})

test('a child that is forked from a program which serves has a core of its own', async (t) => {
  const text = `
    import { fork } from 'node:child_process'
    import { fileURLToPath } from 'node:url'
    import { Client, Service } from '@micro/core'
    if (process.argv[2]) {
      const client = new Client({ addresses: [process.argv[2]], environment: false, registry: 'memory://none' })
      process.send(await client.call('host', 'Host.Hello'))
      process.disconnect()
    } else {
      const service = new Service('host', { address: '127.0.0.1:0', registry: 'memory://fork', environment: false, propagation: 0 })
      service.handle('Host.Hello', () => 'hello')
      await service.start()
      for (let n = 0; n < 3; n++) {
        const child = fork(fileURLToPath(import.meta.url), [service.address])
        console.log(await new Promise((told) => child.once('message', told)))
        await new Promise((over) => child.once('exit', over))
      }
      await service.stop()
    }
  `
  assert.equal(await (await program(t, text)).well(), 'hello\nhello\nhello\n')
})
