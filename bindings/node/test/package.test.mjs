// The package as npm installs it, and under the test runners that people have.
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { blocks, folder, ROOT, start } from './world.mjs'

const BINDING = join(ROOT, 'bindings/node')
const BIN = join(BINDING, 'node_modules/.bin')

/** Packs the package, and gives the tarball. */
async function packed(t) {
  const into = await folder(t)
  await start(t, 'npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', into], { cwd: BINDING }).end()
  const [name] = await readdir(into)
  return join(into, name)
}

test('the packed package, installed into an empty project, runs the quickstart in each kind of program', async (t) => {
  const tarball = await packed(t)
  const cwd = await folder(t)
  await writeFile(join(cwd, 'package.json'), '{ "private": true }')
  const installed = await start(
    t,
    'npm',
    ['install', '--silent', '--offline', '--ignore-scripts', '--no-audit', tarball],
    { cwd },
  ).end()
  assert.equal(installed.code, 0, installed.err)
  assert.deepEqual(await readdir(join(cwd, 'node_modules/@micro')), ['core'])
  const own = JSON.parse(await readFile(join(cwd, 'node_modules/@micro/core/package.json'), 'utf8'))
  assert.deepEqual([own.dependencies, own.scripts], [undefined, undefined])

  const env = { MICRO_REGISTRY: 'memory://quickstart', MICRO_SERVER_ADDRESS: '127.0.0.1:0', MICRO_SERVER_QUIET: 'true' }
  const [readme] = await blocks('bindings/node/README.md', 'js')
  await writeFile(join(cwd, 'quickstart.mjs'), readme)
  assert.equal(await start(t, process.execPath, ['quickstart.mjs'], { cwd, env }).well(), 'Hello, Ada!\n')

  const [required] = await blocks('docs/node.md', 'cjs')
  await writeFile(join(cwd, 'quickstart.cjs'), required)
  assert.equal(await start(t, process.execPath, ['quickstart.cjs'], { cwd, env }).well(), 'Hello, Ada!\n')

  const [typed] = await blocks('docs/node.md', 'ts')
  await writeFile(join(cwd, 'quickstart.mts'), typed)
  const options = {
    target: 'es2023',
    lib: ['es2023', 'esnext.disposable', 'dom'],
    module: 'nodenext',
    strict: true,
    types: [],
  }
  await mkdir(join(cwd, 'node_modules/@types'), { recursive: true })
  await symlink(join(BINDING, 'node_modules/@types/node'), join(cwd, 'node_modules/@types/node'))
  await symlink(join(BINDING, 'node_modules/undici-types'), join(cwd, 'node_modules/undici-types'))
  options.types = ['node']
  await writeFile(join(cwd, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, include: ['*.mts'] }))
  const compiled = await start(t, join(BIN, 'tsc'), ['--project', cwd], { cwd }).end()
  assert.equal(compiled.code, 0, compiled.out)
  assert.equal(await start(t, process.execPath, ['quickstart.mjs'], { cwd, env }).well(), '2\n')
})

test('publint and arethetypeswrong have nothing to say', async (t) => {
  const tarball = await packed(t)
  const lint = await start(t, join(BIN, 'publint'), [tarball, '--strict']).end()
  assert.equal(lint.code, 0, lint.out + lint.err)
  assert.match(lint.out, /All good/)
  const types = await start(t, join(BIN, 'attw'), [tarball, '--format', 'ascii']).end()
  assert.equal(types.code, 0, types.out + types.err)
  if ((await readFile(join(BINDING, 'prebuilds/profile'), 'utf8')).trim() === 'release') {
    assert((await stat(tarball)).size < 14 * 1024 * 1024, 'the package is too large')
  }
})

const FAKED = (fake) => `
  ${fake}
  const { Service } = require('@micro/core')
  const { Fleet } = require('@micro/core/testing')
  test('calls go on while timers stand still', async () => {
    const fleet = new Fleet()
    await fleet.start(new Service('greeter').handle('Greeter.Hello', () => 'hello'))
    expect(await fleet.client.call('greeter', 'Greeter.Hello', {}, { timeout: 5000 })).toBe('hello')
    const late = fleet.client.call('greeter', 'Greeter.Never', {}, { timeout: 20 })
    await expect(late).rejects.toThrow()
    await fleet.close()
  })
`

/** A folder in which the package is found. */
async function project(t) {
  const cwd = await mkdtemp(join(BINDING, 'test/.project-'))
  t.after(() => rm(cwd, { recursive: true, force: true }))
  await writeFile(join(cwd, 'package.json'), '{ "private": true }')
  return cwd
}

test('jest with fake timers leaves nothing open', async (t) => {
  const cwd = await project(t)
  await writeFile(join(cwd, 'greeter.test.js'), FAKED('jest.useFakeTimers()'))
  await writeFile(join(cwd, 'other.test.js'), FAKED('jest.useFakeTimers()'))
  const args = ['--rootDir', cwd, '--runInBand', '--detectOpenHandles', '--no-cache']
  const { code, out, err } = await start(t, join(BIN, 'jest'), args, { cwd }).end()
  assert.equal(code, 0, out + err)
  assert.match(err, /2 passed, 2 total/)
  assert(!/open handle|did not exit/.test(out + err), out + err)
})

test('vitest with fake timers leaves nothing open', async (t) => {
  const cwd = await project(t)
  const head = `
    import { createRequire } from 'node:module'
    import { expect, test, vi } from 'vitest'
    const require = createRequire(import.meta.url)
    vi.useFakeTimers()
  `
  await writeFile(join(cwd, 'greeter.test.mjs'), FAKED(head))
  for (const pool of ['threads', 'forks']) {
    const args = ['run', '--root', cwd, '--pool', pool, '--no-cache', '--reporter', 'verbose']
    const { code, out, err } = await start(t, join(BIN, 'vitest'), args, { cwd }).end()
    assert.equal(code, 0, out + err)
    assert.match(out, /1 passed/)
    assert(!/hanging|close timed out/.test(out + err), out + err)
  }
})
