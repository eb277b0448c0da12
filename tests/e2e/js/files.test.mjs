// SPDX-License-Identifier: Apache-2.0
// Files and watching with the JavaScript SDK.
import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { FileNotFoundError, FilesystemEventType, InvalidArgumentError } from 'e2b'
import { Mailbox, shared } from './helper.mjs'

const box = shared()

async function folder() {
  const path = `/home/user/js-${randomUUID().slice(0, 8)}`
  await box.sandbox.files.makeDir(path)
  return path
}

test('text, bytes, blobs and streams', async () => {
  const { files } = box.sandbox
  const dir = await folder()
  const info = await files.write(`${dir}/ünï 漢.txt`, 'text ü 🚀')
  assert.equal(info.path, `${dir}/ünï 漢.txt`)
  assert.equal(await files.read(`${dir}/ünï 漢.txt`), 'text ü 🚀')
  const bytes = Uint8Array.from({ length: 1000 }, (_, n) => n & 255)
  await files.write(`${dir}/bytes`, bytes.buffer)
  assert.deepEqual(await files.read(`${dir}/bytes`, { format: 'bytes' }), bytes)
  await files.write(`${dir}/blob`, new Blob(['of ', 'parts']))
  assert.equal(await (await files.read(`${dir}/blob`, { format: 'blob' })).text(), 'of parts')
  await files.write(`${dir}/stream`, new Blob(['streamed']).stream())
  let text = ''
  for await (const chunk of await files.read(`${dir}/stream`, { format: 'stream' })) {
    text += Buffer.from(chunk).toString()
  }
  assert.equal(text, 'streamed')
  await files.write(`${dir}/empty`, '')
  assert.equal(await files.read(`${dir}/empty`), '')
})

test('32 MiB there and back', async () => {
  const { files, commands } = box.sandbox
  const dir = await folder()
  const data = Buffer.alloc(32 << 20, 'carrel-')
  const digest = createHash('sha256').update(data).digest('hex')
  for (const options of [{}, { useOctetStream: true }, { gzip: true }]) {
    await files.write(`${dir}/big`, new Blob([data]), options)
    assert.equal((await commands.run(`sha256sum < ${dir}/big`)).stdout.split(' ')[0], digest)
  }
  const back = await files.read(`${dir}/big`, { format: 'bytes' })
  assert.equal(createHash('sha256').update(back).digest('hex'), digest)
  await files.remove(`${dir}/big`)
})

test('many files in one request', async () => {
  const { files } = box.sandbox
  const dir = await folder()
  const entries = Array.from({ length: 50 }, (_, n) => ({ path: `${dir}/d${n % 5}/${n}`, data: `${n}` }))
  const written = await files.write(entries)
  assert.deepEqual(written.map((w) => w.path), entries.map((e) => e.path))
  assert.equal(await files.read(`${dir}/d3/48`), '48')
  assert.equal((await files.list(dir, { depth: 2 })).length, 55)
})

test('list, info, rename, remove, exists', async () => {
  const { files } = box.sandbox
  const dir = await folder()
  await files.write(`${dir}/a.txt`, '12345', { metadata: { who: 'me' } })
  const [entry] = await files.list(dir)
  assert.equal(entry.name, 'a.txt')
  assert.equal(entry.type, 'file')
  assert.equal(entry.size, 5)
  assert.equal(entry.permissions, '-rw-r--r--')
  assert.equal(entry.owner, 'user')
  assert.deepEqual(entry.metadata, { who: 'me' })
  assert.ok(entry.modifiedTime instanceof Date)
  assert.equal((await files.rename(`${dir}/a.txt`, `${dir}/b.txt`)).path, `${dir}/b.txt`)
  assert.equal(await files.exists(`${dir}/a.txt`), false)
  assert.equal((await files.getInfo(`${dir}/b.txt`)).size, 5)
  await files.remove(`${dir}/b.txt`)
  assert.equal(await files.exists(`${dir}/b.txt`), false)
  assert.equal(await files.makeDir(`${dir}/x/y`), true)
  assert.equal(await files.makeDir(`${dir}/x/y`), false)
  assert.equal((await files.getInfo(`${dir}/x`)).type, 'dir')
})

test('what fails, fails by name', async () => {
  const { files } = box.sandbox
  const dir = await folder()
  await assert.rejects(files.read(`${dir}/no`), FileNotFoundError)
  await assert.rejects(files.list(`${dir}/no`), FileNotFoundError)
  await assert.rejects(files.rename(`${dir}/no`, `${dir}/no2`), FileNotFoundError)
  await assert.rejects(files.read(dir), InvalidArgumentError)
  await assert.rejects(files.write(dir, 'x'), InvalidArgumentError)
})

test('signed addresses', async () => {
  const { sandbox } = box
  const dir = await folder()
  const form = new FormData()
  form.append('file', new Blob(['by form']), 'x')
  const up = await fetch(await sandbox.uploadUrl(`${dir}/s.txt`), { method: 'POST', body: form })
  assert.equal(up.status, 200)
  assert.deepEqual(await up.json(), [{ name: 's.txt', path: `${dir}/s.txt`, type: 'file' }])
  const down = await fetch(await sandbox.downloadUrl(`${dir}/s.txt`, { useSignatureExpiration: 60_000 }))
  assert.equal(await down.text(), 'by form')
})

test('a watched directory', async () => {
  const { sandbox } = box
  const dir = await folder()
  const mail = new Mailbox()
  const ended = new Mailbox()
  const handle = await sandbox.files.watchDir(dir, mail.put, {
    recursive: true,
    onExit: (error) => ended.put({ error }),
  })
  await sandbox.files.write(`${dir}/new.txt`, 'x')
  const has = (type, name) => (events) => events.some((e) => e.type === type && e.name === name)
  await mail.until(has(FilesystemEventType.CREATE, 'new.txt'))
  await mail.until(has(FilesystemEventType.WRITE, 'new.txt'))
  await sandbox.commands.run(`mkdir -p ${dir}/sub && echo x > ${dir}/sub/inner`)
  await mail.until(has(FilesystemEventType.CREATE, 'sub/inner'))
  await sandbox.files.rename(`${dir}/new.txt`, `${dir}/old.txt`)
  await mail.until(has(FilesystemEventType.RENAME, 'new.txt'))
  await sandbox.files.remove(`${dir}/old.txt`)
  await mail.until(has(FilesystemEventType.REMOVE, 'old.txt'))
  await handle.stop()
  await ended.until((items) => items.length > 0)
})

test('conditions and digests on signed addresses', async () => {
  const { sandbox } = box
  const dir = await folder()
  const url = await sandbox.uploadUrl(`${dir}/f`, { useSignatureExpiration: 60_000 })
  const put = (text, headers) => {
    const form = new FormData()
    form.append('file', new Blob([text]), 'f')
    return fetch(url, { method: 'POST', body: form, headers })
  }
  const first = await put('one', { 'If-None-Match': '*' })
  assert.equal(first.status, 200)
  assert.equal((await put('two', { 'If-None-Match': '*' })).status, 412)
  assert.equal((await put('two', { 'If-Match': first.headers.get('etag') })).status, 200)
  const read = await sandbox.downloadUrl(`${dir}/f`, { useSignatureExpiration: 60_000 })
  const head = await fetch(read, { method: 'HEAD', headers: { 'Want-Repr-Digest': 'sha-256=1' } })
  const digest = createHash('sha256').update('two').digest('base64')
  assert.equal(head.headers.get('repr-digest'), `sha-256=:${digest}:`)
  assert.equal(await sandbox.files.read(`${dir}/f`), 'two')
})

test('a watched directory that is deleted and made again', async () => {
  const { sandbox } = box
  const dir = await folder()
  const mail = new Mailbox()
  const handle = await sandbox.files.watchDir(dir, mail.put, { recursive: true })
  const has = (type, name) => (events) => events.some((e) => e.type === type && e.name === name)
  await sandbox.commands.run(`rmdir ${dir}`)
  await mail.until(has(FilesystemEventType.REMOVE, '.'))
  await sandbox.commands.run(`mkdir ${dir} && echo x > ${dir}/inner`)
  await mail.until(has(FilesystemEventType.CREATE, 'inner'))
  await handle.stop()
})
