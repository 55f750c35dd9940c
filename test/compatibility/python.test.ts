import { execFile } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { resolve } from "node:path"
import { json } from "node:stream/consumers"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe } from "vitest"
import { CompatibilityTable } from "./compatibility-table.ts"
import { throughEnv, throughExec } from "./doors.ts"
import { runProgram } from "./program.ts"
import { preparePython } from "./python-environment.ts"
import { runAndQueue, tokensAndFiles, withoutCalls } from "./python-expectations.suite.ts"
import { slots, useServer } from "./server.suite.ts"
import { describeTable, describeTrials, type Expectations } from "./trials.suite.ts"

const doors = {
  exec: "`tintype exec`",
  execAsync: "`tintype exec`, async",
  env: "`tintype env`",
  envAsync: "`tintype env`, async",
}
const programs = resolve(import.meta.dirname, "python")
const prepared = await preparePython()
if ("absent" in prepared) {
  console.warn(`The official Python client is not tried: ${prepared.absent}`)
}

describe.skipIf("absent" in prepared)("the official Python client, unmodified", () => {
  const { python, env } = "absent" in prepared ? { python: "", env: {} } : prepared
  const table = new CompatibilityTable("python", Object.values(doors))
  const told: unknown[] = []
  const receiver = createServer((request, response) => {
    void json(request).then((body) => {
      told.push(body)
      response.end()
    })
  })
  const server = useServer()

  beforeAll(async () => {
    receiver.listen(0, "127.0.0.1")
    await once(receiver, "listening")
  })

  afterAll(() => {
    receiver.close()
  })

  const tryThrough = (door: string, command: string[], trials: Expectations) =>
    describeTrials(table, door, trials, async () => {
      const { port } = receiver.address() as AddressInfo
      return await runProgram(command, {
        ...env,
        TINTYPE_URL: server.url,
        COMPATIBILITY_SLOTS: String(slots),
        COMPATIBILITY_WEBHOOK: `http://127.0.0.1:${port}/`,
      })
    })

  const sync = [python, resolve(programs, "sync_client.py")]
  const async = [python, resolve(programs, "async_client.py")]
  const atHosts = { ...runAndQueue("queue.fal.run", () => told), ...tokensAndFiles }
  const atPort = runAndQueue("127.0.0.1:[0-9]+/queue", () => told)
  const some = Object.keys(atPort)
  tryThrough(doors.exec, throughExec(sync), { ...atHosts, ...withoutCalls })
  tryThrough(doors.execAsync, throughExec(async), atHosts)
  tryThrough(doors.env, throughEnv([...sync, ...some]), atPort)
  tryThrough(doors.envAsync, throughEnv([...async, ...some]), atPort)

  describeTable(table, async () => {
    const inventory = resolve(programs, "inventory.py")
    const { stdout } = await promisify(execFile)(python, [inventory], {
      env: { ...process.env, ...env },
    })
    const { version, names } = JSON.parse(stdout) as { version: string; names: string[] }
    return { title: `Python: fal-client ${version}`, names: [...new Set(names.map(commonName))] }
  })
})

/** The two clients say the same with other names: `run_async`, `AsyncRequestHandle.get`. */
function commonName(name: string): string {
  return name
    .replace(/_async$/, "")
    .replace(/^A?[Ss]ync(?=[A-Z])/, "")
    .replace("Async", "")
}
