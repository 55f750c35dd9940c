import { existsSync } from "node:fs"
import { type Browser, chromium } from "playwright-core"
import { afterAll, beforeAll, describe } from "vitest"
import { mappedHosts } from "./browser/mapped-hosts.ts"
import { startWebApp, type WebApp } from "./browser/web-app.ts"
import { CompatibilityTable } from "./compatibility-table.ts"
import * as expected from "./javascript-expectations.suite.ts"
import { clientVersion } from "./javascript/inventory.ts"
import type { Sighting } from "./program.ts"
import { slots, useServer } from "./server.suite.ts"
import { describeTable, describeTrials, type Expectations } from "./trials.suite.ts"

const doors = { route: "proxy route", app: "proxy route of an app", hosts: "mapped hosts" }
const places = ["/usr/bin/chromium", "/usr/bin/chromium-browser"]
const executablePath = places.find((path) => existsSync(path)) ?? ""
if (executablePath === "") {
  console.warn("The official JavaScript client is not tried in a browser: there is no chromium")
}

describe.skipIf(executablePath === "")("the official JavaScript client in Chromium", () => {
  const table = new CompatibilityTable("chromium", Object.values(doors))
  const server = useServer()
  let app: WebApp
  let plain: Browser
  let mapped: Browser

  beforeAll(async () => {
    app = await startWebApp(server.url)
    plain = await chromium.launch({ executablePath })
    mapped = await chromium.launch({ executablePath, args: await mappedHosts(server.url) })
  }, 60_000)

  afterAll(async () => {
    await Promise.all([plain.close(), mapped.close()])
    await app.stop()
  }, 30_000)

  /** Opens the app's page and runs the trials there. */
  const tried = async (browser: Browser, trials: Expectations, config: object, restUrl: string) => {
    const page = await browser.newPage()
    await page.goto(app.url)
    const place = { slots, proxyUrl: `${server.url}/api/fal/proxy`, restUrl, config }
    const said = await page.evaluate(
      async ([names, where]) => await globalThis.runTrials(names, where),
      [Object.keys(trials), place] as const,
    )
    await page.close()
    const sightings = JSON.parse(said) as Sighting[]
    return new Map(sightings.map((sighting) => [sighting.trial, sighting]))
  }

  const direct = expected.trialsAt(expected.ownBases)
  describeTrials(table, doors.route, direct, async () => {
    const proxyUrl = `${server.url}/api/fal/proxy`
    return await tried(plain, direct, { proxyUrl }, `${server.url}/rest`)
  })

  const forwarded = expected.trialsAt(expected.hostBases)
  describeTrials(table, doors.app, forwarded, async () => {
    return await tried(mapped, forwarded, { proxyUrl: "/api/fal/proxy" }, expected.restUrl)
  })

  const everything = { ...forwarded, ...expected.pastTheProxy }
  describeTrials(table, doors.hosts, everything, async () => {
    return await tried(mapped, everything, { credentials: "any:key" }, expected.restUrl)
  })

  describeTable(table, () => {
    const title = `JavaScript: @fal-ai/client ${clientVersion()}, in Chromium`
    // Node's table holds the names of the package against the trials.
    return Promise.resolve({ title, names: [] })
  })
})

declare global {
  /** Of the page that app.mjs serves. */
  function runTrials(names: string[], place: object): Promise<string>
}
