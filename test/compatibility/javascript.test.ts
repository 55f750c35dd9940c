import { resolve } from "node:path"
import * as client from "@fal-ai/client"
import { describe } from "vitest"
import { CompatibilityTable } from "./compatibility-table.ts"
import { throughExec } from "./doors.ts"
import * as expected from "./javascript-expectations.suite.ts"
import { clientVersion, inventoryOf } from "./javascript/inventory.ts"
import { runProgram } from "./program.ts"
import { slots, useServer } from "./server.suite.ts"
import { describeTable, describeTrials } from "./trials.suite.ts"

const program = [process.execPath, resolve(import.meta.dirname, "javascript/program.mjs")]

describe("the official JavaScript client in Node, unmodified", () => {
  const table = new CompatibilityTable("javascript", ["`tintype exec`", "proxy route"])
  const server = useServer()

  const tried = async (command: string[], place: object) => {
    const whole = { slots, proxyUrl: `${server.url}/api/fal/proxy`, ...place }
    return await runProgram(command, {
      TINTYPE_URL: server.url,
      COMPATIBILITY_PLACE: JSON.stringify(whole),
    })
  }

  const everything = { ...expected.trialsAt(expected.hostBases), ...expected.pastTheProxy }
  describeTrials(table, "`tintype exec`", everything, async () => {
    return await tried(throughExec(program), { restUrl: expected.restUrl })
  })

  const routed = expected.trialsAt(expected.ownBases)
  describeTrials(table, "proxy route", routed, async () => {
    const proxyUrl = { url: `${server.url}/api/fal/proxy`, when: "always" }
    const some = [...program, ...Object.keys(routed)]
    return await tried(some, { restUrl: `${server.url}/rest`, config: { proxyUrl } })
  })

  describeTable(table, () => {
    const title = `JavaScript: @fal-ai/client ${clientVersion()}, in Node`
    return Promise.resolve({ title, names: inventoryOf(client) })
  })
})
