// SPDX-License-Identifier: Apache-2.0
// Processes with the JavaScript SDK: output that outlives connections, terminals, many at once.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { Mailbox, shared } from './helper.mjs'

const box = shared()
const commands = () => box.sandbox.commands
const text = new TextDecoder()

async function until(check, what, ms = 20_000) {
  const limit = Date.now() + ms
  while (!(await check())) {
    assert.ok(Date.now() < limit, `no ${what}`)
    await new Promise(setImmediate)
  }
}

test('what is produced while nobody listens', async () => {
  const handle = await commands().run('read go; seq 1 200000; exit 3', {
    background: true,
    stdin: true,
    timeoutMs: 0,
  })
  await handle.disconnect()
  await commands().sendStdin(handle.pid, '\n')
  await until(
    async () => !(await commands().list()).some((p) => p.pid === handle.pid), 'end')
  const late = await commands().connect(handle.pid)
  const failure = await late.wait().catch((error) => error)
  assert.equal(failure.exitCode, 3)
  const expected = Array.from({ length: 200000 }, (_, i) => `${i + 1}\n`).join('')
  assert.equal(
    createHash('sha256').update(failure.stdout).digest('hex'),
    createHash('sha256').update(expected).digest('hex'))
})

test('each part goes to who is there', async () => {
  let handle = await commands().run('for i in 1 2 3; do read go; echo part $i; done', {
    background: true,
    stdin: true,
    timeoutMs: 0,
  })
  for (const n of [1, 2, 3]) {
    await handle.disconnect()
    await commands().sendStdin(handle.pid, '\n')
    const mail = new Mailbox()
    handle = await commands().connect(handle.pid, { onStdout: mail.put })
    assert.equal(await mail.until((items) => items.join('')), `part ${n}\n`)
  }
  assert.equal((await handle.wait()).exitCode, 0)
})

test('vim in a terminal', async () => {
  const { files, pty } = box.sandbox
  await files.write('js.txt', 'one\ntwo\n')
  let screen = ''
  const handle = await pty.create({
    cols: 80,
    rows: 24,
    onData: (data) => { screen += text.decode(data) },
    timeoutMs: 60_000,
  })
  const type = (keys) => pty.sendInput(handle.pid, new TextEncoder().encode(keys))
  await type("vim -n js.txt; echo vim is go''ne\r")
  await until(() => screen.includes('two'), 'vim')
  await type('Gothree\x1bZZ')
  await until(() => screen.includes('vim is gone'), 'end of vim')
  assert.equal(await files.read('js.txt'), 'one\ntwo\nthree\n')
  await pty.resize(handle.pid, { cols: 101, rows: 31 })
  await type('stty size\r')
  await until(() => screen.includes('31 101'), 'new size')
  assert.equal(await pty.kill(handle.pid), true)
})

test('a hundred at once', async () => {
  const results = await Promise.all(
    Array.from({ length: 100 }, (_, i) => commands().run(`echo ${i}; echo ${i} >&2`)))
  results.forEach((r, i) => assert.deepEqual([r.stdout, r.stderr], [`${i}\n`, `${i}\n`]))
})

test('the agent dies, the command does not', async () => {
  const script = `
import os
for pid in (p for p in os.listdir("/proc") if p.isdigit()):
    if open(f"/proc/{pid}/comm").read() == "carrel-agent\\n":
        os.kill(int(pid), 9)
`
  const handle = await commands().run('read x; echo got $x; exit 6', {
    background: true,
    stdin: true,
    timeoutMs: 0,
  })
  handle.wait().catch(() => {})
  await box.sandbox.files.write('/tmp/kill.py', script)
  await commands().run('python3 /tmp/kill.py', { user: 'root', timeoutMs: 20_000 }).catch(() => {})
  await until(() => commands().run('true').then(() => true, () => false), 'recovery')
  const late = await commands().connect(handle.pid)
  await commands().sendStdin(handle.pid, 'news\n')
  const failure = await late.wait().catch((error) => error)
  assert.deepEqual([failure.exitCode, failure.stdout], [6, 'got news\n'])
})

test('users and their environment', async () => {
  const root = await commands().run('id -un; echo $HOME $USER', { user: 'root' })
  assert.equal(root.stdout, 'root\n/root root\n')
  const user = await commands().run('id -un; sudo -n id -u; echo $A', { envs: { A: 'own' } })
  assert.equal(user.stdout, 'user\n0\nown\n')
})

test('how a command has ended', async () => {
  const bomb = 'a = []\nwhile True: a.append(bytearray(64 << 20))'
  const ends = [
    ['exit 7', 7, /^exit status 7$/],
    ['kill -9 $$', -1, /^signal: killed$/],
    ['no-such-program', 127, /^exit status 127$/],
    [`exec python3 -c '${bomb}'`, -1, /^out of memory: killed by the sandbox's limit of \d+ MiB$/],
  ]
  for (const [script, code, error] of ends) {
    const failure = await commands().run(script).catch((e) => e)
    assert.equal(failure.exitCode, code, script)
    assert.match(failure.error, error)
  }
  const late = await commands().run('sleep 1000', { timeoutMs: 300 }).catch((e) => e)
  assert.equal(late.name, 'TimeoutError')
})

test('readers beside each other, characters whole', async () => {
  const expected = '😀é€'.repeat(100000)
  await box.sandbox.files.write('text', expected)
  const first = await commands().run('read go; cat text', { background: true, stdin: true })
  const second = await commands().connect(first.pid)
  await commands().sendStdin(first.pid, '\n')
  for (const result of await Promise.all([first.wait(), second.wait()])) {
    assert.ok(result.stdout === expected)
  }
})
