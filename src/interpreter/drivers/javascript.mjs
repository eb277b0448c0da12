// SPDX-License-Identifier: Apache-2.0
// The driver of javascript and typescript (protocol: driver.h). A cell is run as a script, so that
// what it declares stays; one with import or await on its top level is rewritten first. Types are
// taken away by esbuild, which is also asked about anything that node alone does not understand.
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import util from 'node:util'
import vm from 'node:vm'

// A cell may change what is global, these among it.
const { stringify, parse } = JSON
const { stdout, stderr } = process

const socket = new net.Socket({ fd: 3, readable: true, writable: true })
const HALF = /(?<!\\)((?:\\\\)*)\\ud[89a-f][0-9a-f]{2}/g // half a character, which no JSON has
const pause = new Int32Array(new SharedArrayBuffer(4))

function send(event) {
  const line = Buffer.from(stringify(event).replace(HALF, '$1\\ufffd') + '\n')
  for (let at = 0; at < line.length;) {
    try {
      at += fs.writeSync(3, line, at)
    } catch (error) {
      if (error.code !== 'EAGAIN') process.exit(70)
      Atomics.wait(pause, 0, 0, 1)
    }
  }
}

// All that was written is on its way before anything else is said.
const drained = (stream) => new Promise((done) => stream.write('', done))

const require = createRequire(path.join(process.cwd(), 'cell.js'))

Object.assign(globalThis, { require, module: { exports: {} }, exports: {}, display })

// ---- results ----

function bundleOf(value) {
  const bundle = { 'text/plain': typeof value === 'string' ? `'${value}'` : util.inspect(value) }
  if (value === null || typeof value !== 'object') return bundle
  const named = { _toHtml: 'text/html', _toSvg: 'image/svg+xml', _toPng: 'image/png',
    _toJpeg: 'image/jpeg', _toMime: null }
  for (const [method, mime] of Object.entries(named)) {
    if (typeof value[method] !== 'function') continue
    const got = value[method]()
    if (mime) bundle[mime] = got
    else Object.assign(bundle, got)
  }
  const proto = Object.getPrototypeOf(value)
  if (Array.isArray(value) || proto === null || proto.constructor?.name === 'Object') {
    try {
      const text = stringify(value)
      if (text && text.length < 1 << 20) bundle['application/json'] = parse(text)
    } catch { /* circular, or a BigInt */ }
  }
  return bundle
}

// display(value) shows a value by its text; display({'text/html': …}, true) shows it as it is.
function display(value, raw = false) {
  send({ event: 'result', main: false, bundle: raw ? value : bundleOf(value) })
}

// ---- cells ----

function stripTypes(code) {
  const run = spawnSync('esbuild', ['--loader=ts', '--target=node18', '--log-level=error',
    '--tsconfig-raw={"compilerOptions":{"preserveValueImports":true,"verbatimModuleSyntax":true}}'],
  { input: code, maxBuffer: 1 << 30 })
  if (run.status === 0) return run.stdout.toString()
  const error = new SyntaxError(run.stderr ? run.stderr.toString().trim() : String(run.error))
  error.stack = `SyntaxError: ${error.message}`
  throw error
}

// import declarations as calls of import(), which a cell may contain anywhere.
const IMPORT = /^[ \t]*import\s+(?:([\w$]+)\s*,?\s*)?(?:\{([^}]*)\}|\*\s*as\s+([\w$]+))?\s*from\s*(['"][^'"]+['"])[ \t]*;?|^[ \t]*import\s*(['"][^'"]+['"])[ \t]*;?/gm
function rewriteImports(code) {
  return code.replace(IMPORT, (_, base, names, all, from, bare) => {
    if (bare) return `await import(${bare});`
    const parts = (names ?? '').split(',').map((n) => n.trim().replace(/\s+as\s+/, ': ')).filter(Boolean)
    if (base) parts.unshift(`default: ${base}`)
    const module = `await import(${from})`
    if (!all) return `var { ${parts.join(', ')} } = ${module};`
    return base ? `var ${all} = ${module}, ${base} = ${all}.default;` : `var ${all} = ${module};`
  })
}

const compiles = (code) => {
  try {
    new vm.Script(code)
    return true
  } catch {
    return false
  }
}

// An async function around the cell; what it declares on its top level becomes global.
function asAsync(code) {
  const names = []
  let depth = 0
  const lines = code.split('\n').map((line) => {
    let out = line
    if (depth === 0) {
      out = line.replace(/^(\s*)(?:const|let|var)\s+(?=[\w$])([\w$]+)/, (_, s, n) => (names.push(n), `${s}${n}`))
      if (out === line) {
        out = line.replace(/^(\s*)(?:const|let|var)\s+([{[][^=]*[}\]])\s*=(.*?);?\s*$/, (_, s, p, v) => {
          names.push(...p.replace(/[\w$]+\s*:/g, '').match(/[\w$]+/g) ?? [])
          return `${s};(${p} =${v});`
        })
      }
      out = out.replace(/^(\s*)(async\s+)?function\s*(\*?)\s*([\w$]+)/, (_, s, a, g, n) => (names.push(n), `${s}${n} = ${a ?? ''}function${g} ${n}`))
      out = out.replace(/^(\s*)class\s+([\w$]+)/, (_, s, n) => (names.push(n), `${s}${n} = class ${n}`))
    }
    const bare = line.replace(/(['"`])(?:\\.|(?!\1).)*\1|\/\/.*$/g, '')
    depth += (bare.match(/[{([]/g) ?? []).length - (bare.match(/[})\]]/g) ?? []).length
    return out
  })
  const declared = names.length ? `var ${[...new Set(names)].join(', ')};` : ''
  const body = lines.join('\n')
  // The value of the last statement, if returning it still compiles.
  const cut = lastStatement(body)
  for (const at of cut) {
    const last = body.slice(at).trim().replace(/;+$/, '')
    const whole = `${declared}(async () => {${body.slice(0, at)}\nreturn (${last}\n)})()`
    if (last && compiles(whole)) return whole
  }
  return `${declared}(async () => {${body}\n})()`
}

// Places where the last statement may begin, the most likely first.
function lastStatement(code) {
  const trimmed = code.replace(/[\s;]+$/, '')
  const at = []
  for (let i = trimmed.length - 1; i >= 0 && at.length < 64; i--) if (trimmed[i] === '\n' || trimmed[i] === ';') at.push(i + 1)
  at.push(0)
  return at
}

async function importModule(name) {
  if (name.startsWith('.') || name.startsWith('/')) return import(pathToFileURL(path.resolve(name)).href)
  try {
    return await import(name)
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error
    return import(pathToFileURL(require.resolve(name)).href)
  }
}

const isTypescript = process.argv[2] === 'typescript'

function compile(code) {
  // Some typed text means something else without its types: a label, for one.
  if (isTypescript) code = stripTypes(code)
  const options = { filename: 'cell.js', importModuleDynamically: importModule }
  try {
    return new vm.Script(code, options)
  } catch (first) {
    let rewritten = rewriteImports(code)
    if (rewritten === code && !/\bawait\b/.test(code)) rewritten = null
    for (const make of [() => rewritten && asAsync(rewritten), () => stripTypes(code)]) {
      try {
        const text = make()
        if (!text) continue
        if (compiles(text)) return new vm.Script(text, options)
        const inner = asAsync(rewriteImports(text))
        if (compiles(inner)) return new vm.Script(inner, options)
      } catch { /* the first error says most */ }
    }
    throw first
  }
}

let interrupted = null
process.on('SIGINT', () => interrupted?.(Object.assign(new Error('Execution was interrupted'), { name: 'KeyboardInterrupt' })))

async function run(code) {
  // breakOnSigint ends a busy loop; the promise ends a wait.
  const value = compile(code).runInThisContext({ breakOnSigint: true })
  if (typeof value?.then !== 'function') return value
  return Promise.race([value, new Promise((_, reject) => { interrupted = reject })])
}

function changeEnvironment(changes) {
  for (const [name, value] of Object.entries(changes ?? {})) {
    if (value === null) delete process.env[name]
    else process.env[name] = value
  }
}

function tellError(error) {
  const named = error !== null && typeof error === 'object' && 'message' in error
  if (error?.code === 'ERR_SCRIPT_EXECUTION_INTERRUPTED') error.name = 'KeyboardInterrupt'
  const own = /\n\s+at (?:.*javascript\.mjs|.*node:vm|.*node:internal)[^]*$/
  send({ event: 'error', name: named ? String(error.name) : 'Error',
    value: named ? String(error.message) : util.inspect(error),
    traceback: named ? String(error.stack ?? error).replace(own, '') : util.inspect(error) })
}

async function execute({ code, before, after }) {
  changeEnvironment(before)
  try {
    const value = await run(code)
    if (value !== undefined) send({ event: 'result', main: true, bundle: bundleOf(value) })
  } catch (error) {
    tellError(error)
  } finally {
    interrupted = null
    changeEnvironment(after)
  }
  await Promise.all([drained(stdout), drained(stderr)])
  send({ event: 'done' })
}

process.on('unhandledRejection', (error) => process.stderr.write(util.inspect(error) + '\n'))
process.on('uncaughtException', (error) => process.stderr.write(util.inspect(error) + '\n'))

let text = ''
socket.setEncoding('utf8')
socket.on('data', (chunk) => {
  text += chunk
  for (let end; (end = text.indexOf('\n')) >= 0;) {
    const line = text.slice(0, end)
    text = text.slice(end + 1)
    execute(parse(line))
  }
})
socket.on('end', () => process.exit(0))
send({ event: 'ready' })
