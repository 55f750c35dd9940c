import { execFile } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import {
  removeDataFolder,
  type ServerProcess,
  startServerProcess,
  untilReady,
} from "../server-process.ts"
import { typeCheck } from "./type-check.ts"

const client = resolve(import.meta.dirname, "../../packages/client")
const text = await readFile(join(client, "README.md"), "utf8")
const snippets = [...text.matchAll(/^## (.*)$|```ts\n([\s\S]*?)```/gm)]
  .reduce<{ title: string; code: string }[]>((found, [, title, code]) => {
    const last = found.at(-1)?.title ?? "The first"
    return [...found, { title: title ?? last, code: code ?? "" }]
  }, [])
  .filter(({ code }) => code !== "")

describe("the README's snippets", () => {
  let server: ServerProcess
  let folder: string

  beforeAll(async () => {
    server = await startServerProcess()
    folder = await mkdtemp(join(tmpdir(), "tintype-readme-"))
    await untilReady(server.url)
  })

  afterAll(async () => {
    await server.kill("SIGTERM")
    await removeDataFolder(server.data)
    await rm(folder, { recursive: true })
  })

  it.each(snippets)("run as they stand [$title]", async ({ code }) => {
    const program = code
      .replaceAll("http://127.0.0.1:3250", server.url)
      .replaceAll("@tintype/client", pathToFileURL(join(client, "dist/index.js")).href)
    const path = join(folder, "snippet.mts")
    await writeFile(path, program)
    const { stderr } = await promisify(execFile)(process.execPath, [path])
    expect(stderr).toBe("")
  })

  it("and compile, as strict as can be", async () => {
    const files = snippets.map(({ code }, at) => [`snippet-${at}.ts`, code] as const)
    expect(await typeCheck(Object.fromEntries(files))).toEqual([])
  })
})
