#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// The core steps of the tour with the unmodified JavaScript SDK `e2b`. Needs a server and the
// variables that `carrel serve` prints. Exit status 0 only if every step worked.
import { createRequire } from 'node:module'
import { CommandExitError, Sandbox } from 'e2b'

const steps = []
const step = (title, body) => steps.push({ title, body })
const say = (text) => console.log(`    ${text}`)
const show = (text) => text.trimEnd().split('\n').slice(0, 20).forEach((line) => say(`| ${line}`))

function check(condition, what) {
  if (!condition) throw new Error(`not so: ${what}`)
  say(`✓ ${what}`)
}

async function withSandbox(body) {
  const start = performance.now()
  const sandbox = await Sandbox.create({ timeoutMs: 300_000 })
  say(`sandbox ${sandbox.sandboxId} made in ${(performance.now() - start).toFixed(1)} ms`)
  try {
    await body(sandbox)
  } finally {
    await sandbox.kill()
  }
}

step('Files: text, JSON, bytes', () => withSandbox(async (sandbox) => {
  await sandbox.files.write('hello.txt', 'Hello ✓ ünïcödé')
  check(await sandbox.files.read('hello.txt') === 'Hello ✓ ünïcödé', 'text reads back')
  await sandbox.files.write('config.json', JSON.stringify({ a: [1, 2] }))
  check(JSON.parse(await sandbox.files.read('config.json')).a[1] === 2, 'JSON reads back')
  const bytes = Uint8Array.from({ length: 65536 }, (_, n) => n & 255)
  await sandbox.files.write('data.bin', bytes.buffer)
  const back = await sandbox.files.read('data.bin', { format: 'bytes' })
  check(Buffer.compare(Buffer.from(back), Buffer.from(bytes)) === 0, 'bytes read back')
  const entries = await sandbox.files.list('/home/user')
  const files = entries.filter((entry) => !entry.name.startsWith('.'))
  files.forEach((entry) => say(`${entry.type.padEnd(5)} ${entry.name.padEnd(12)} ${entry.size} bytes`))
  check(files.map((entry) => entry.name).join() === 'config.json,data.bin,hello.txt', 'all are listed')
}))

step('Watch a directory', () => withSandbox(async (sandbox) => {
  await sandbox.files.makeDir('output')
  const created = new Set()
  let complete
  const all = new Promise((resolve, reject) => {
    complete = resolve
    setTimeout(() => reject(new Error('events are missing')), 20_000).unref()
  })
  const watcher = await sandbox.files.watchDir('output', (event) => {
    say(`file event: ${event.type} ${event.name}`)
    if (event.type === 'create' && created.add(event.name).size === 3) complete()
  })
  await sandbox.commands.run('for i in 0 1 2; do echo $i > output/file_$i.txt; done')
  await all
  await watcher.stop()
  check([...created].sort().join() === 'file_0.txt,file_1.txt,file_2.txt', 'three files announced')
}))

step('Commands: results, variables, directory, failure', () => withSandbox(async (sandbox) => {
  const result = await sandbox.commands.run('echo out; echo err >&2')
  check(result.stdout === 'out\n' && result.stderr === 'err\n' && result.exitCode === 0, 'both streams')
  const env = await sandbox.commands.run('echo $MY_VAR', { envs: { MY_VAR: 'hello' } })
  check(env.stdout === 'hello\n', 'a variable')
  check((await sandbox.commands.run('pwd', { cwd: '/tmp' })).stdout === '/tmp\n', 'a directory')
  const failure = await sandbox.commands.run('exit 3').catch((error) => error)
  check(failure instanceof CommandExitError && failure.exitCode === 3, 'a failure has its exit code')
}))

step('Lines arrive one by one', () => withSandbox(async (sandbox) => {
  const start = performance.now()
  const arrivals = []
  const program = 'for i in 1 2 3 4 5; do echo "Processing step $i/5"; sleep 0.2; done'
  await sandbox.commands.run(program, {
    onStdout: (line) => {
      arrivals.push(performance.now() - start)
      say(`${(arrivals.at(-1) / 1000).toFixed(3)} s  [STDOUT] ${line.trimEnd()}`)
    },
  })
  const gaps = arrivals.slice(1).map((at, n) => at - arrivals[n])
  check(arrivals.length === 5 && Math.min(...gaps) > 100, 'five lines, while it ran')
}))

step('A web server, seen from inside and outside', () => withSandbox(async (sandbox) => {
  await sandbox.files.write('www/index.html', '<h1>Served from a sandbox</h1>\n')
  const server = await sandbox.commands.run(
    'exec python3 -u -m http.server 8080 --directory www', { background: true })
  const inside = await sandbox.commands.run('until curl -sf localhost:8080; do :; done')
  show(inside.stdout)
  const reply = await fetch(process.env.E2B_SANDBOX_URL, {
    headers: { 'E2b-Sandbox-Id': sandbox.sandboxId, 'E2b-Sandbox-Port': '8080' },
  })
  check(await reply.text() === inside.stdout, 'the same page through the proxy')
  check(await server.kill() === true, 'the server is killed')
}))

step('Install a package and use it', () => withSandbox(async (sandbox) => {
  await sandbox.files.write('project/test.mjs',
    "import isNumber from 'is-number'\nconsole.log(isNumber(42), isNumber('x'))\n")
  const options = { cwd: '/home/user/project', timeoutMs: 240_000 }
  const install = await sandbox.commands.run('npm init -y >/dev/null && npm install is-number', options)
  show(install.stdout)
  check((await sandbox.commands.run('node test.mjs', options)).stdout === 'true false\n', 'it works')
}))

step('A terminal', () => withSandbox(async (sandbox) => {
  let screen = ''
  let seen
  const shown = new Promise((resolve, reject) => {
    seen = resolve
    setTimeout(() => reject(new Error(`the screen shows ${JSON.stringify(screen)}`)), 20_000).unref()
  })
  const terminal = await sandbox.pty.create({
    cols: 80,
    rows: 24,
    onData: (data) => {
      screen += Buffer.from(data).toString()
      if (screen.includes('42')) seen()
    },
  })
  await sandbox.pty.sendInput(terminal.pid, new TextEncoder().encode('echo $((20 + 22))\n'))
  await shown
  check(await sandbox.pty.kill(terminal.pid) === true, 'the shell answered 42 and is gone')
}))

step('Ten sandboxes at once', async () => {
  const made = await Promise.all(Array.from({ length: 10 }, () => Sandbox.create({ timeoutMs: 300_000 })))
  try {
    await Promise.all(made.map((sandbox, n) => sandbox.files.write(`secret-${n}`, '')))
    const seen = await Promise.all(made.map((sandbox) => sandbox.commands.run('ls')))
    check(seen.every((result, n) => result.stdout === `secret-${n}\n`), 'each sees its own file only')
  } finally {
    await Promise.all(made.map((sandbox) => sandbox.kill()))
  }
})

const missing = ['E2B_API_KEY', 'E2B_API_URL', 'E2B_SANDBOX_URL'].filter((n) => !process.env[n])
if (missing.length) {
  console.error(`set ${missing.join(', ')} first: \`carrel serve\` prints the lines to paste`)
  process.exit(1)
}
const { version } = createRequire(import.meta.url)('e2b/package.json')
console.log(`Node ${process.versions.node}, e2b ${version}, ${process.env.E2B_API_URL}`)
const results = []
for (const [n, { title, body }] of steps.entries()) {
  console.log(`\n${n + 1}. ${title}`)
  const start = performance.now()
  let problem = null
  try {
    await body()
  } catch (error) {
    problem = `${error.name}: ${error.message}`
    say(`✗ ${problem}`)
  }
  results.push({ title, problem, seconds: (performance.now() - start) / 1000 })
}
console.log('\nSummary')
for (const { title, problem, seconds } of results) {
  console.log(`  ${problem ? 'FAILED' : 'ok    '} ${seconds.toFixed(2).padStart(6)} s  ${title}`)
}
const failed = results.filter((result) => result.problem).length
console.log(`${results.length - failed} of ${results.length} steps worked`)
process.exit(failed ? 1 : 0)
