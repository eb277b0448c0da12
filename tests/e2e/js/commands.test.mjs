// SPDX-License-Identifier: Apache-2.0
// Commands and terminals with the JavaScript SDK.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import {
  AuthenticationError,
  CommandExitError,
  InvalidArgumentError,
  NotFoundError,
  TimeoutError,
} from 'e2b'
import { Mailbox, shared } from './helper.mjs'

const box = shared()
const run = (command, options) => box.sandbox.commands.run(command, options)

test('output, exit code, variables, directory, user', async () => {
  const result = await run('echo out; echo err >&2')
  assert.deepEqual([result.stdout, result.stderr, result.exitCode], ['out\n', 'err\n', 0])
  assert.equal((await run('echo $A', { envs: { A: 'ü b' } })).stdout, 'ü b\n')
  assert.equal((await run('pwd', { cwd: '/tmp' })).stdout, '/tmp\n')
  assert.equal((await run('id -un', { user: 'root' })).stdout, 'root\n')
})

test('failures', async () => {
  await assert.rejects(run('echo why >&2; exit 7'), (error) => {
    assert.ok(error instanceof CommandExitError)
    assert.equal(error.exitCode, 7)
    assert.equal(error.stderr, 'why\n')
    return true
  })
  await assert.rejects(run('no-such-program'), (error) => error.exitCode === 127)
  await assert.rejects(run('true', { cwd: '/no/such' }), InvalidArgumentError)
  await assert.rejects(run('true', { user: 'stranger' }), AuthenticationError)
  await assert.rejects(run('sleep 60', { timeoutMs: 500 }), TimeoutError)
})

test('16 MiB of output, exactly', async () => {
  const line = '0123456789abcde\n'
  const result = await run(`yes 0123456789abcde | head -c ${16 << 20}`)
  assert.equal(result.stdout.length, 16 << 20)
  const expected = createHash('sha256').update(line.repeat(1 << 20)).digest('hex')
  assert.equal(createHash('sha256').update(result.stdout).digest('hex'), expected)
})

test('characters split between reads', async () => {
  const result = await run(
    `python3 -c "import sys; sys.stdout.buffer.write(b'a' * 8191 + '€🚀'.encode() * 2000)"`)
  assert.equal(result.stdout, 'a'.repeat(8191) + '€🚀'.repeat(2000))
})

test('lines arrive while the command runs', async () => {
  const mail = new Mailbox()
  const handle = await run('for i in 1 2 3; do echo line $i; read x; done', {
    background: true,
    stdin: true,
    onStdout: mail.put,
  })
  for (const n of [1, 2, 3]) {
    await mail.until((items) => items.join('') === [1, 2, 3].slice(0, n).map((i) => `line ${i}\n`).join(''))
    await box.sandbox.commands.sendStdin(handle.pid, 'go\n')
  }
  assert.equal((await handle.wait()).exitCode, 0)
})

test('standard input and its end', async () => {
  const handle = await run('cat', { background: true, stdin: true })
  await handle.sendStdin('in ü\n')
  await handle.closeStdin()
  assert.equal((await handle.wait()).stdout, 'in ü\n')
})

test('list, connect, disconnect, kill', async () => {
  const { commands } = box.sandbox
  const handle = await run('echo up; read x; echo got $x; exec sleep 100', { background: true, stdin: true })
  assert.ok((await commands.list()).some((p) => p.pid === handle.pid))
  await handle.disconnect()
  const mail = new Mailbox()
  const again = await commands.connect(handle.pid, { onStdout: mail.put })
  await commands.sendStdin(handle.pid, 'news\n')
  await mail.until((items) => items.join('').includes('got news\n'))
  assert.equal(await again.kill(), true)
  await assert.rejects(again.wait(), CommandExitError)
  assert.equal(await commands.kill(handle.pid + 100_000), false)
  await assert.rejects(commands.connect(2_000_000), NotFoundError)
})

test('thirty at once', async () => {
  const results = await Promise.all(Array.from({ length: 30 }, (_, n) => run(`echo ${n}`)))
  assert.deepEqual(results.map((r) => r.stdout), Array.from({ length: 30 }, (_, n) => `${n}\n`))
})

test('a terminal', async () => {
  const { pty } = box.sandbox
  const mail = new Mailbox()
  const terminal = await pty.create({
    cols: 80,
    rows: 24,
    onData: (data) => mail.put(Buffer.from(data).toString()),
  })
  const shows = (text) => mail.until((items) => items.join('').includes(text))
  const type = (text) => pty.sendInput(terminal.pid, new TextEncoder().encode(text))
  await type('echo $((20 + 22)) $TERM; stty size\n')
  await shows('42 xterm-256color')
  await shows('24 80')
  await pty.resize(terminal.pid, { cols: 132, rows: 50 })
  await type('stty size\n')
  await shows('50 132')
  assert.equal(await pty.kill(terminal.pid), true)
  await assert.rejects(terminal.wait(), CommandExitError)
  assert.equal(await pty.kill(terminal.pid), false)
})
