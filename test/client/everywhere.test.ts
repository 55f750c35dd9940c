import { execFile, execFileSync } from "node:child_process"
import { once } from "node:events"
import { createReadStream, existsSync, readFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { dirname, join, resolve } from "node:path"
import { promisify } from "node:util"
import { chromium } from "playwright-core"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import {
  removeDataFolder,
  type ServerProcess,
  startServerProcess,
  untilReady,
} from "../server-process.ts"

const root = resolve(import.meta.dirname, "../..")

/** Everything that a program gets which imports the client, with what each file imports. */
function importGraph(entry: string): Map<string, string[]> {
  const graph = new Map<string, string[]>()
  const left = [entry]
  for (let file = left.pop(); file !== undefined; file = left.pop()) {
    if (graph.has(file)) continue
    const text = readFileSync(file, "utf8")
    const found = text.matchAll(
      /^(?:import|export)\s(?:[\w*{}\s,$]+\sfrom\s)?["']([^"'\n]+)["']|\bimport\(["']([^"'\n]+)["']/gm,
    )
    const targets = [...found].map(([, written, called]) => written ?? called ?? "")
    graph.set(file, targets)
    left.push(...targets.flatMap((target) => locate(file, target)))
  }
  return graph
}

function locate(file: string, target: string): string[] {
  if (target.startsWith(".")) return [join(dirname(file), target)]
  const packages: Record<string, string> = {
    "@tintype/protocol": "packages/protocol/dist/index.js",
    "@msgpack/msgpack": "node_modules/@msgpack/msgpack/dist.esm/index.mjs",
  }
  const known = packages[target]
  return known === undefined ? [] : [join(root, known)]
}

describe("the client in a browser", () => {
  const graph = importGraph(join(root, "packages/client/dist/index.js"))

  it("brings nothing of Node along, and no package but its own", () => {
    const files = [...graph.keys()].map((file) => file.slice(root.length + 1))
    // The walk has walked.
    expect(files.length).toBeGreaterThan(40)
    const strange = [...graph].flatMap(([file, targets]) =>
      targets
        .filter((target) => !target.startsWith(".") && locate(file, target).length === 0)
        .map((target) => `${file} imports ${target}`),
    )
    expect(strange).toEqual([])
  })

  it("uses no global that only Node has", () => {
    const own = [...graph.keys()].filter((file) => file.includes("/packages/"))
    const wrong = own.filter((file) => {
      const code = readFileSync(file, "utf8").replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "")
      return /\b(Buffer|process|setImmediate|require|__dirname)\b[.(]/.test(code)
    })
    expect(wrong).toEqual([])
  })
})

/** A Node of the system's, older than the one that the tests run in; null: there is none. */
function findOlderNode(): { path: string; version: string } | null {
  let listed = ""
  try {
    listed = execFileSync("which", ["-a", "node"], { encoding: "utf8" })
  } catch {
    return null
  }
  for (const path of listed.split("\n").filter((line) => line !== "")) {
    if (path.includes("node_modules")) continue
    const version = execFileSync(path, ["--version"], { encoding: "utf8" }).trim()
    const major = Number(/^v(\d+)/.exec(version)?.[1])
    if (major >= 20 && major < 24) return { path, version }
  }
  return null
}

/** What every runtime tells. */
const told = {
  run: "run",
  subscribe: [
    ["polling", 36],
    ["streaming", 36],
  ],
  stream: ["stream 1", "stream 2", "stream"],
  upload: 25 * 1024 * 1024,
  realtime: "realtime",
  error: [422, "ValidationError"],
  timeout: "TimeoutError",
}

const older = findOlderNode()
const chromiumPath = "/usr/bin/chromium"

describe("the client in other runtimes", () => {
  let server: ServerProcess

  beforeAll(async () => {
    server = await startServerProcess({ args: ["--apps", "./test/client/doors-app.ts"] })
    await untilReady(server.url)
  })

  afterAll(async () => {
    await server.kill("SIGTERM")
    await removeDataFolder(server.data)
  })

  it.skipIf(older === null)(
    `goes through every door in an older Node [${older?.version ?? "none is here"}]`,
    async () => {
      const program = join(import.meta.dirname, "program.mjs")
      const env = { PATH: process.env["PATH"] ?? "", TINTYPE_URL: server.url }
      const { stdout } = await promisify(execFile)(older?.path ?? "", [program], { env })
      expect(JSON.parse(stdout)).toEqual(told)
    },
  )

  it.skipIf(!existsSync(chromiumPath))(
    "goes through every door in a browser, from its modules as they are [needs chromium]",
    async () => {
      const pages = await servePages(server.url)
      const browser = await chromium.launch({ executablePath: chromiumPath })
      const page = await browser.newPage()
      await page.goto(pages.url)
      const said = await page.evaluate<unknown>("window.told")
      expect(said).toEqual(told)
      await browser.close()
      await pages.close()
    },
  )
})

/** A page of another origin that imports the client, with the modules that it is made of. */
async function servePages(serverUrl: string): Promise<{ url: string; close: () => Promise<void> }> {
  const page = `<!doctype html><script type="importmap">${JSON.stringify({
    imports: {
      "@tintype/client": "/packages/client/dist/index.js",
      "@tintype/protocol": "/packages/protocol/dist/index.js",
      "@msgpack/msgpack": "/node_modules/@msgpack/msgpack/dist.esm/index.mjs",
    },
  })}</script><script type="module">
import { createClient } from "@tintype/client"
import { goThroughEveryDoor } from "/test/client/every-door.mjs"
window.told = goThroughEveryDoor(createClient({ url: ${JSON.stringify(serverUrl)} }))
</script>`
  const pages = createServer((request, response) => {
    const path = request.url ?? "/"
    const type = path === "/" ? "text/html" : "text/javascript"
    response.setHeader("content-type", type)
    if (path === "/") response.end(page)
    else
      createReadStream(join(root, path))
        .on("error", () => response.destroy())
        .pipe(response)
  })
  pages.listen(0, "127.0.0.1")
  await once(pages, "listening")
  const { port } = pages.address() as AddressInfo
  const close = async () => {
    pages.closeAllConnections()
    await new Promise((closed) => pages.close(closed))
  }
  return { url: `http://127.0.0.1:${port}/`, close }
}
