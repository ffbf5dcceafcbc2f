// What tests share: programs of their own, folders, and things that come to pass.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Fleet } from '@micro/core/testing'

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const HERE = fileURLToPath(new URL('.', import.meta.url))
/** Milliseconds that nothing takes. */
export const PATIENCE = 30_000

/** Waits until `isSo` says so. */
export async function until(isSo, what = 'what was waited for') {
  const end = Date.now() + PATIENCE
  while (!(await isSo())) {
    assert(Date.now() < end, `${what} did not come to pass`)
    await new Promise((again) => setTimeout(again, 5))
  }
}

/** A promise, and what settles it. */
export function promised() {
  let [resolve, reject] = []
  const promise = new Promise((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

/** A folder that is there for one test. */
export async function folder(test) {
  const path = await mkdtemp(join(tmpdir(), 'micro-node-'))
  test.after(() => rm(path, { recursive: true, force: true }))
  return path
}

/** Services and callers that are there for one test. */
export function fleetOf(test) {
  const fleet = new Fleet()
  test.after(() => fleet.close())
  return fleet
}

/** Runs a program of its own; its text is a module. */
export async function program(test, text, { args = [], env = {}, name = 'program.mjs', flags = [] } = {}) {
  // Beside the tests, where the package is found.
  const path = join(HERE, `.${process.pid}-${programs++}-${name}`)
  await writeFile(path, text)
  test.after(() => rm(path, { force: true }))
  return start(test, process.execPath, [...flags, path, ...args], { env })
}

let programs = 0

/** Starts a process, which does not outlive the test. */
export function start(test, command, args, { cwd = HERE, env = {} } = {}) {
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] })
  test.after(() => child.kill('SIGKILL'))
  let [out, err] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text) => {
    out += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    err += text
  })
  const ended = once(child, 'close')
  return {
    child,
    get out() {
      return out
    },
    /** Waits until it has printed this. */
    async says(text) {
      await until(() => out.includes(text) || child.exitCode !== null, `"${text}" (${err})`)
      assert(out.includes(text), `it ended without "${text}":\n${out}\n${err}`)
    },
    /** How it ends, and what it has printed. */
    async end(patience = PATIENCE) {
      const late = setTimeout(() => child.kill('SIGKILL'), patience)
      const [code, signal] = await ended
      clearTimeout(late)
      return { code, signal, out, err }
    },
    /** Ends well, and gives what it has printed. */
    async well(patience = PATIENCE) {
      const { code, signal, out, err } = await this.end(patience)
      assert.deepEqual({ code, signal, err }, { code: 0, signal: null, err: '' })
      return out
    },
  }
}

/** Code of a language that a page shows. */
export async function blocks(page, language) {
  const text = await readFile(join(ROOT, page), 'utf8')
  return [...text.matchAll(new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 'gs'))].map(([, block]) => block)
}
