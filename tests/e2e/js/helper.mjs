// SPDX-License-Identifier: Apache-2.0
// What the tests of the JavaScript SDK share. They need a running server: E2B_API_KEY, E2B_API_URL
// and E2B_SANDBOX_URL in the environment, as scripts/with-server sets them.
import { after, before } from 'node:test'
import { Sandbox } from 'e2b'

for (const name of ['E2B_API_KEY', 'E2B_API_URL', 'E2B_SANDBOX_URL']) {
  if (!process.env[name]) {
    throw new Error(`${name} is not set: run this by scripts/with-server`)
  }
}

// A sandbox for all tests of a file, in .sandbox once they run.
export function shared() {
  const holder = {}
  before(async () => {
    holder.sandbox = await Sandbox.create({ timeoutMs: 300_000 })
  })
  after(async () => {
    await holder.sandbox?.kill()
  })
  return holder
}

// Runs a test's body with a fresh sandbox, which is killed afterwards.
export async function withSandbox(options, body) {
  const sandbox = await Sandbox.create({ timeoutMs: 120_000, ...options })
  try {
    return await body(sandbox)
  } finally {
    await sandbox.kill()
  }
}

// A place where callbacks put what they got, and tests wait for what they want.
export class Mailbox {
  #items = []
  #waiting = []

  put = (item) => {
    this.#items.push(item)
    this.#waiting.forEach((look) => look())
  }

  get items() {
    return this.#items
  }

  // The first truthy value of look(items), which is tried whenever something arrives.
  until(look, timeoutMs = 15_000) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`not seen in ${timeoutMs} ms; so far ${JSON.stringify(this.#items)}`)),
        timeoutMs
      )
      const attempt = () => {
        const found = look(this.#items)
        if (found) {
          clearTimeout(timer)
          this.#waiting = this.#waiting.filter((w) => w !== attempt)
          resolve(found)
        }
      }
      this.#waiting.push(attempt)
      attempt()
    })
  }
}
