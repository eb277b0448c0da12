// SPDX-License-Identifier: Apache-2.0
// Snapshots, forks and pauses of the files only, with the JavaScript SDK.
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Sandbox } from 'e2b'

const BOOT_ID = '/proc/sys/kernel/random/boot_id'

test('a snapshot holds the files', async (t) => {
  const sandbox = await Sandbox.create({ timeoutMs: 60_000 })
  t.after(() => sandbox.kill())
  await sandbox.files.write('kept', 'then')
  const { snapshotId } = await sandbox.createSnapshot({ name: 'js-kept' })
  await sandbox.files.write('kept', 'now')
  const listed = await Sandbox.listSnapshots({ sandboxId: sandbox.sandboxId }).nextItems()
  assert.deepEqual(listed.map((s) => s.snapshotId), [snapshotId])
  const copy = await Sandbox.create(snapshotId, { timeoutMs: 60_000 })
  t.after(() => copy.kill())
  assert.equal(await copy.files.read('kept'), 'then')
  assert.equal(await Sandbox.deleteSnapshot(snapshotId), true)
  assert.equal(await Sandbox.deleteSnapshot(snapshotId), false)
})

test('forks', async (t) => {
  const sandbox = await Sandbox.create({ timeoutMs: 60_000 })
  t.after(() => sandbox.kill())
  await sandbox.files.write('seen', 'by all')
  const children = await sandbox.fork({ count: 3, timeoutMs: 60_000 })
  t.after(() => Promise.all(children.map((child) => child.kill())))
  assert.equal(children.length, 3)
  for (const child of children) assert.equal(await child.files.read('seen'), 'by all')
})

test('a pause of the files only', async (t) => {
  const sandbox = await Sandbox.create({ timeoutMs: 60_000 })
  t.after(() => sandbox.kill())
  await sandbox.files.write('kept', 'kept')
  const boot = await sandbox.files.read(BOOT_ID)
  assert.equal(await sandbox.pause({ keepMemory: false }), true)
  const again = await Sandbox.connect(sandbox.sandboxId, { timeoutMs: 60_000 })
  assert.equal(await again.files.read('kept'), 'kept')
  assert.notEqual(await again.files.read(BOOT_ID), boot)
  assert.equal(await again.pause(), true)
  const third = await Sandbox.connect(sandbox.sandboxId, { onResume: 'reboot' })
  assert.equal(await third.files.read('kept'), 'kept')
})
