// SPDX-License-Identifier: Apache-2.0
// The code interpreter with the JavaScript SDK: a notebook of the kind that agents write.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Sandbox } from '@e2b/code-interpreter'

let box
before(async () => {
  box = await Sandbox.create({ timeoutMs: 300_000, envs: { GLOBAL: 'everywhere' } })
})
after(() => box.kill())

const cell = (code, options) => box.runCode(code, options)

test('load data', async () => {
  await box.files.write('/home/user/data.csv', 'x,y\n' + [...Array(50).keys()].map((x) => `${x},${2 * x + 1}`).join('\n'))
  const frame = await cell('import pandas as pd\ndf = pd.read_csv("data.csv")\ndf.head(2)')
  assert.deepEqual(frame.results[0].data, { x: [0, 1], y: [1, 3] })
  assert.match(frame.results[0].html, /<table/)
})

test('fit a model', async () => {
  const fit = await cell(`from sklearn.linear_model import LinearRegression
model = LinearRegression().fit(df[['x']], df['y'])
print('fitted', len(df), 'rows')
{'slope': round(float(model.coef_[0]), 6), 'intercept': round(float(model.intercept_), 6)}`)
  assert.deepEqual(fit.logs.stdout, ['fitted 50 rows\n'])
  assert.deepEqual(fit.results[0].json, { slope: 2, intercept: 1 })
})

const charts = {
  line: 'plt.plot(df.x, df.y, label="y")',
  scatter: 'plt.scatter(df.x, df.y)',
  bar: 'plt.bar(["a", "b"], [1, 2])',
  pie: 'plt.pie([3, 1], labels=["a", "b"])',
  box_and_whisker: 'plt.boxplot([df.x, df.y])',
}
for (const [type, code] of Object.entries(charts)) {
  test(`a ${type} chart`, async () => {
    const shown = await cell(`import matplotlib.pyplot as plt\n${code}\nplt.title("T")\nplt.show()`)
    assert.equal(shown.results.length, 1)
    assert.equal(shown.results[0].chart.type, type)
    assert.equal(shown.results[0].chart.title, 'T')
    assert.equal(Buffer.from(shown.results[0].png, 'base64').subarray(1, 4).toString(), 'PNG')
  })
}

test('an exception leaves the state', async () => {
  const failed = await cell('kept = 1\ndf["missing"]')
  assert.equal(failed.error.name, 'KeyError')
  assert.match(failed.error.traceback, /missing/)
  assert.equal((await cell('kept')).text, '1')
})

test('install a package of one\'s own', async () => {
  await box.files.write('/home/user/own/pyproject.toml', '[project]\nname = "own"\nversion = "1.0"\n[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n')
  await box.files.write('/home/user/own/backend.py', `import zipfile
def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = 'own-1.0-py3-none-any.whl'
    with zipfile.ZipFile(directory + '/' + name, 'w') as z:
        z.writestr('own.py', 'answer = 42\\n')
        z.writestr('own-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: own\\nVersion: 1.0\\n')
        z.writestr('own-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
        z.writestr('own-1.0.dist-info/RECORD', '')
    return name
`)
  const installed = await cell('!pip install --no-index --no-build-isolation ./own')
  assert.match(installed.logs.stdout.join(''), /Successfully installed own-1.0/)
  assert.equal((await cell('import own; own.answer')).text, '42')
})

test('callbacks hear all, in order', async () => {
  const heard = []
  await cell('import sys\nprint("out")\nprint("err", file=sys.stderr)\ndisplay(5)\n1 / 0', {
    onStdout: (m) => heard.push(['out', m.line]),
    onStderr: (m) => heard.push(['err', m.line]),
    onResult: (r) => heard.push(['result', r.text]),
    onError: (e) => heard.push(['error', e.name]),
  })
  assert.deepEqual(heard, [['out', 'out\n'], ['err', 'err\n'], ['result', '5'], ['error', 'ZeroDivisionError']])
})

test('contexts and languages', async () => {
  const context = await box.createCodeContext({ language: 'javascript', cwd: '/tmp' })
  assert.equal((await cell('process.cwd()', { context })).text, '/tmp')
  assert.equal((await cell('const [a, b] = [1, 2]; `${a + b}`', { context })).text, '3')
  await box.restartCodeContext(context)
  assert.equal((await cell('a', { context })).error.name, 'ReferenceError')
  await box.removeCodeContext(context)
  assert.ok(!(await box.listCodeContexts()).some((c) => c.id === context.id))
  assert.equal((await cell('let n: number = 5; n', { language: 'ts' })).text, '5')
  assert.deepEqual((await cell('echo $GLOBAL', { language: 'bash' })).logs.stdout, ['everywhere\n'])
})
