// SPDX-License-Identifier: Apache-2.0
// Life of a sandbox with the JavaScript SDK.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import {
  AuthenticationError,
  Sandbox,
  SandboxNotFoundError,
  TimeoutError,
} from 'e2b'
import { withSandbox } from './helper.mjs'

test('create, look, kill twice', async () => {
  const metadata = { purpose: 'ü & more', run: randomUUID() }
  const sandbox = await Sandbox.create({ metadata, timeoutMs: 60_000, envs: { A: 'b c' } })
  assert.match(sandbox.sandboxId, /^[a-z0-9]+$/)
  assert.equal(await sandbox.isRunning(), true)
  const info = await sandbox.getInfo()
  assert.deepEqual(info.metadata, metadata)
  assert.equal(info.state, 'running')
  assert.equal(info.name, 'base')
  assert.ok(info.endAt - info.startedAt <= 60_000 && info.endAt - info.startedAt > 55_000)
  assert.equal((await sandbox.commands.run('echo $A')).stdout, 'b c\n')
  assert.equal(await sandbox.kill(), true)
  assert.equal(await sandbox.kill(), false)
  assert.equal(await sandbox.isRunning(), false)
})

test('connect finds it and never shortens its life', async () => {
  await withSandbox({ timeoutMs: 300_000 }, async (sandbox) => {
    await sandbox.files.write('mark', 'here')
    const before = (await sandbox.getInfo()).endAt
    const again = await Sandbox.connect(sandbox.sandboxId, { timeoutMs: 5_000 })
    assert.equal(await again.files.read('mark'), 'here')
    assert.deepEqual((await again.getInfo()).endAt, before)
  })
})

test('timeouts', async () => {
  await withSandbox({}, async (sandbox) => {
    await sandbox.setTimeout(10_000)
    const left = (await sandbox.getInfo()).endAt - Date.now()
    assert.ok(left > 5_000 && left <= 10_000, `${left}`)
  })
})

test('the end of life cuts what runs', async () => {
  const sandbox = await Sandbox.create({ timeoutMs: 2_000 })
  await assert.rejects(sandbox.commands.run('sleep 60'), TimeoutError)
  assert.equal(await sandbox.isRunning(), false)
  await assert.rejects(sandbox.getInfo(), SandboxNotFoundError)
})

test('a kill cuts what runs', async () => {
  const sandbox = await Sandbox.create()
  const handle = await sandbox.commands.run('sleep 60', { background: true })
  await sandbox.kill()
  await assert.rejects(handle.wait(), TimeoutError)
  await assert.rejects(sandbox.files.read('x'), TimeoutError)
})

test('list, filtered and in pages', async () => {
  const run = randomUUID()
  const made = []
  try {
    for (let n = 0; n < 3; n++) {
      made.push(await Sandbox.create({ metadata: { run, odd: 'a b&c=ü' }, timeoutMs: 60_000 }))
    }
    const ids = made.map((s) => s.sandboxId)
    const pages = Sandbox.list({ query: { metadata: { run, odd: 'a b&c=ü' } }, limit: 2 })
    const first = await pages.nextItems()
    assert.equal(pages.hasNext, true)
    const second = await pages.nextItems()
    assert.equal(pages.hasNext, false)
    assert.deepEqual([...first, ...second].map((s) => s.sandboxId), ids.toReversed())
    const paused = await Sandbox.list({ query: { metadata: { run }, state: ['paused'] } }).nextItems()
    assert.deepEqual(paused, [])
  } finally {
    await Promise.all(made.map((s) => s.kill()))
  }
})

test('what is not there, and a wrong key', async () => {
  assert.equal(await Sandbox.kill('i0000000000000000000'), false)
  await assert.rejects(Sandbox.connect('i0000000000000000000'), SandboxNotFoundError)
  await assert.rejects(Sandbox.create('no-such-template'))
  await assert.rejects(Sandbox.create({ apiKey: `e2b_${'0'.repeat(40)}` }), AuthenticationError)
})

test('metrics can be asked for', async () => {
  await withSandbox({}, async (sandbox) => {
    assert.ok(Array.isArray(await sandbox.getMetrics()))
  })
})

test('pause and connect', async () => {
  await withSandbox({}, async (sandbox) => {
    await sandbox.files.write('kept', 'kept')
    assert.equal(await sandbox.pause(), true)
    assert.equal(await sandbox.pause(), false)
    assert.equal((await sandbox.getInfo()).state, 'paused')
    const again = await Sandbox.connect(sandbox.sandboxId)
    assert.equal(await again.files.read('kept'), 'kept')
  })
})

test('ten at once', async () => {
  const made = await Promise.all(Array.from({ length: 10 }, () => Sandbox.create({ timeoutMs: 60_000 })))
  try {
    await Promise.all(made.map((s, n) => s.files.write(`mine-${n}`, `${n}`)))
    const seen = await Promise.all(made.map((s) => s.commands.run('ls')))
    assert.deepEqual(seen.map((r) => r.stdout), made.map((_, n) => `mine-${n}\n`))
  } finally {
    await Promise.all(made.map((s) => s.kill()))
  }
})
