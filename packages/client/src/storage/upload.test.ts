import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { createClient } from "../client.ts"
import { answer, lose, ScriptedServer, type Step } from "../scripted-server.suite.ts"

let server: ScriptedServer
const mebibyte = 1024 * 1024

beforeEach(async () => {
  server = await ScriptedServer.open()
})

afterEach(async () => {
  await server.close()
})

const storage = () =>
  createClient({ url: server.url, credentials: "a:b", retry: { delayMs: 1 } }).storage

function place(name: string): Step {
  const [upload, file] = [`${server.url}/up/${name}?signed=1`, `${server.url}/files/${name}`]
  return answer(200, { upload_url: upload, file_url: file })
}

const called = () => server.calls.map(({ method, path }) => `${method} ${path}`)

describe("a file that goes as a whole", () => {
  it("is announced with the key, and sent without it", async () => {
    server.script(place("one"), answer(200, {}))
    const file = new File(["hello"], "a.txt", { type: "text/plain" })
    expect(await storage().upload(file)).toBe(`${server.url}/files/one`)
    const [announced, sent] = server.calls
    expect(announced?.path).toBe("/rest/storage/upload/initiate?storage_type=fal-cdn-v3")
    expect(announced?.headers.authorization).toBe("Key a:b")
    expect(JSON.parse(announced?.body ?? "")).toEqual({
      content_type: "text/plain",
      file_name: "a.txt",
    })
    expect([sent?.path, sent?.body]).toEqual(["/up/one?signed=1", "hello"])
    expect(sent?.headers).toMatchObject({ "content-type": "text/plain" })
    expect(sent?.headers.authorization).toBeUndefined()
  })

  it("goes to another place when nobody knows whether it has arrived", async () => {
    server.script(place("one"), lose, place("two"), answer(200, {}))
    expect(await storage().upload(new Blob(["x"]))).toBe(`${server.url}/files/two`)
  })

  it("is refused once when it is refused", async () => {
    server.script(place("one"), answer(413, { detail: "too large" }))
    await expect(storage().upload(new Blob(["x"]))).rejects.toMatchObject({ status: 413 })
    expect(server.calls).toHaveLength(2)
  })

  it.each([
    ["image/png", "file.png"],
    ["image/svg+xml", "file.svg"],
    ["audio/x-wav; rate=1", "file.wav"],
    ["application/octet-stream", "file.bin"],
    ["", "file.bin"],
  ])("has a name that tells what it is [%s]", async (type, name) => {
    server.script(place("one"), answer(200, {}))
    await storage().upload(new Blob(["x"], { type }))
    expect(JSON.parse(server.calls[0]?.body ?? "")).toMatchObject({ file_name: name })
  })
})

describe("a file in parts", () => {
  it("sends each part until it is there, and lists them in order", async () => {
    const [tag1, tag2, tag3] = ["1", "2", "3"].map((etag) => answer(200, { etag, partNumber: 0 }))
    const part = (response: Parameters<Step>[0], call: Parameters<Step>[1]) => {
      const number = /\/up\/one\/(\d)\?/.exec(call.path)?.[1] ?? ""
      const step = { 1: tag1, 2: tag2, 3: tag3 }[number]
      step?.(response, call)
    }
    server.script(place("one"), lose, part, part, part, answer(200, {}))
    const file = new Blob([new Uint8Array(25 * mebibyte)])
    expect(await storage().upload(file)).toBe(`${server.url}/files/one`)
    expect(called()[0]).toContain("/initiate-multipart?")
    expect(called().at(-1)).toBe("POST /up/one/complete?signed=1")
    expect(server.calls).toHaveLength(1 + 4 + 1)
    expect(JSON.parse(server.calls.at(-1)?.body ?? "")).toEqual({
      parts: [1, 2, 3].map((partNumber) => ({ partNumber, etag: String(partNumber) })),
    })
    const sizes = server.calls.slice(1, -1).map(({ headers }) => Number(headers["content-length"]))
    expect(new Set(sizes)).toEqual(new Set([10 * mebibyte, 5 * mebibyte]))
  })

  it("a part that is refused ends the others", async () => {
    const refused = answer(403, { detail: "over" })
    server.script(place("one"), refused, refused, refused, refused)
    const file = new Blob([new Uint8Array(35 * mebibyte)])
    await expect(storage().upload(file)).rejects.toMatchObject({ status: 403 })
    expect(called().filter((call) => call.includes("complete"))).toEqual([])
  })

  it("takes a part's tag from its header as well", async () => {
    const tagged = answer(200, null, { etag: '"tag"' })
    server.script(place("one"), tagged, tagged, tagged, answer(200, {}))
    await storage().upload(new Blob([new Uint8Array(25 * mebibyte)]))
    const { parts } = JSON.parse(server.calls.at(-1)?.body ?? "") as { parts: { etag: string }[] }
    expect(parts.map(({ etag }) => etag)).toEqual(['"tag"', '"tag"', '"tag"'])
  })
})

describe("an input", () => {
  it("without files is the very same, and costs no call", async () => {
    server.script()
    const input = { a: [{ b: null }], at: new Date(0) }
    expect(await storage().transformInput(input)).toBe(input)
    expect(server.calls).toEqual([])
  })

  it("that contains itself is refused", async () => {
    const input: Record<string, unknown> = {}
    input["self"] = input
    await expect(storage().transformInput(input)).rejects.toThrow("nested deeper than 64")
  })
})
