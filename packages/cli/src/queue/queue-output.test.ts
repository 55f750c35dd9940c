import { mkdtemp, readdir, readFile, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { describeError } from "./api-error.ts"
import { readEvents } from "./event-stream.ts"
import { findOutputs, makeFolder, nameOutput, saveOutput } from "./outputs.ts"
import { createProgressView, drawBar, readStep } from "./progress-view.ts"
import type { StatusUpdate } from "./wire-reading.ts"
import { readModelsPage, readRequestId, readStatusUpdate } from "./wire-reading.ts"

const place = { endpoint: "fal-ai/flux/dev", requestId: "764cabcf-b745-4b3e", index: 0, count: 1 }
const noDownload = (): Promise<Response> => Promise.reject(new Error("nothing to download"))

async function* chunksOf(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

function update(part: Partial<StatusUpdate>): StatusUpdate {
  return { status: "IN_PROGRESS", position: null, logs: [], progress: null, ...part }
}

function show(isTTY: boolean, updates: StatusUpdate[]): string {
  let shown = ""
  const output = { isTTY, columns: 80, write: (text: string) => (shown += text) }
  const view = createProgressView(output, false)
  for (const one of updates) view.update(one)
  view.end()
  return shown
}

describe("outputs", () => {
  test("every url of a result is found once, in order, whatever it hangs on", () => {
    const result = {
      images: [
        { url: "http://h/a.png", content_type: "image/png" },
        { url: "data:image/webp;base64,AA==" },
      ],
      audio: { url: "https://h/b.wav" },
      again: { url: "http://h/a.png" },
      page: { url: "ftp://h/c" },
      url: 3,
      nothing: null,
    }
    expect(findOutputs(result).map(({ url }) => url)).toEqual([
      "http://h/a.png",
      "data:image/webp;base64,AA==",
      "https://h/b.wav",
    ])
    expect(findOutputs("text")).toEqual([])
  })

  test.each([
    [{ url: "http://h/x", contentType: "image/jpeg" }, "flux-dev-764cabcf.jpg"],
    [{ url: "http://h/x.PNG?y=1", contentType: null }, "flux-dev-764cabcf.png"],
    [{ url: "data:image/webp;base64,AA==", contentType: null }, "flux-dev-764cabcf.webp"],
    [{ url: "http://h/x.exe", contentType: "text/x-odd" }, "flux-dev-764cabcf.bin"],
  ])("%j is saved as %s", (output, name) => {
    expect(nameOutput(output, place)).toBe(name)
  })

  test("several outputs are numbered from one", () => {
    const output = { url: "http://h/x", contentType: "image/png" }
    expect(nameOutput(output, { ...place, index: 1, count: 2 })).toBe("flux-dev-764cabcf-2.png")
  })

  test("a folder that is a file, or that the system will not make, is said in a line", async () => {
    const file = join(await mkdtemp(join(tmpdir(), "tintype-out-")), "file")
    await writeFile(file, "")
    await expect(makeFolder(join(file, "x"))).rejects.toThrow(/file is a file, not a folder/)
    await expect(makeFolder("/proc/nope/x")).rejects.toThrow(/\/proc\/nope cannot be written/)
  })

  test("nothing that is there is overwritten", async () => {
    const folder = join(await mkdtemp(join(tmpdir(), "tintype-out-")), "new", "er")
    await makeFolder(folder)
    const save = (text: string): Promise<string> =>
      saveOutput(
        { url: `data:text/plain;base64,${btoa(text)}`, contentType: null },
        { folder, name: "a.txt" },
        noDownload,
      )
    await save("first")
    const second = await save("second")
    expect(second).toBe(join(folder, "a_2.txt"))
    expect(await readFile(join(folder, "a.txt"), "utf8")).toBe("first")
    expect(await readFile(second, "utf8")).toBe("second")
  })

  test("a download that breaks leaves no half file", async () => {
    const folder = await mkdtemp(join(tmpdir(), "tintype-out-"))
    const broken = new ReadableStream({
      pull(controller) {
        controller.enqueue(new Uint8Array(10))
        controller.error(new Error("cut"))
      },
    })
    const output = { url: "http://h/a.png", contentType: null }
    const saving = saveOutput(output, { folder, name: "a.png" }, () =>
      Promise.resolve(new Response(broken)),
    )
    await expect(saving).rejects.toThrow("cut")
    expect(await readdir(folder)).toEqual([])
  })
})

describe("the status stream", () => {
  test.each([1, 2, 3, 7, 1000])("events arrive whole in chunks of %i bytes", async (size) => {
    const text =
      ': ping\n\ndata: {"a":"ü€"}\n\ndata: x\r\ndata: y\r\n\r\nevent: z\ndata:3\n\ndata: cut'
    const events: string[] = []
    for await (const data of readEvents(chunksOf(new TextEncoder().encode(text), size))) {
      events.push(data)
    }
    expect(events).toEqual(['{"a":"ü€"}', "x\ny", "3"])
  })

  test("what the protocol does not know is refused", () => {
    expect(() => readStatusUpdate({ status: "DONE" })).toThrow("an unknown status")
    expect(() => readStatusUpdate(undefined)).toThrow("no object")
    expect(() => readRequestId({ request_id: "../../etc" })).toThrow("no request_id")
    expect(readModelsPage({ models: [{}], has_more: false, next_cursor: "x" })).toEqual({
      models: [{ id: "?", category: "", title: "" }],
      entries: [{}],
      cursor: null,
    })
  })
})

describe("errors of the API", () => {
  test("invalid input says what is wrong with each field", () => {
    const detail = [
      { loc: ["body", "image_size", "width"], msg: "Input should be …", type: "less_than_equal" },
      { loc: ["body"], msg: "bad", type: "value_error" },
    ]
    expect(describeError(422, JSON.stringify({ detail }))).toEqual([
      "The input was refused (422):",
      "  image_size.width: Input should be … (less_than_equal)",
      "  bad (value_error)",
    ])
  })

  test.each([
    [404, '{"detail":"Application \\"x\\" not found"}', 'Application "x" not found (404)'],
    [400, '{"detail":"No","error_type":"bad_request"}', "No (400, bad_request)"],
    [
      404,
      '{"error":{"type":"not_found","message":"No such model"}}',
      "No such model (404, not_found)",
    ],
    [502, "<html>", "HTTP 502: <html>"],
    [503, "", "HTTP 503"],
    [500, '{"detail":"\\u001b[2Jgone"}', "[2Jgone (500)"],
  ])("%i %s", (status, body, line) => {
    expect(describeError(status, body)).toEqual([line])
  })

  test("the nearest endpoint that the server names is passed on", () => {
    const body = '{"detail":"Application \\"x\\" not found","nearest":"fal-ai/flux/dev"}'
    expect(describeError(404, body)[1]).toBe("Did you mean fal-ai/flux/dev?")
  })
})

describe("progress", () => {
  const life = [
    update({ status: "IN_QUEUE", position: 2 }),
    update({ status: "IN_QUEUE", position: 2 }),
    update({ status: "IN_QUEUE", position: 0 }),
    update({ logs: ["Painting", "step 1/2"] }),
    update({ logs: ["step 2/2"] }),
    update({ status: "COMPLETED" }),
  ]

  test("piped, each change is one plain line", () => {
    expect(show(false, life)).toBe(
      "Queued, 2 ahead\nQueued, next in line\nRunning\nPainting\nstep 1/2\nstep 2/2\n",
    )
  })

  test("on a terminal the bar is drawn over and taken away at the end", () => {
    const shown = show(true, [update({ progress: { step: 7, steps: 14 } })])
    expect(shown).toContain(`\r\u001b[2K${drawBar({ step: 7, steps: 14 })}`)
    expect(shown.endsWith("\r\u001b[2K")).toBe(true)
  })

  test("log lines of steps move the bar, others scroll above it", () => {
    const shown = show(true, [update({ logs: ["Painting", "step 1/4"] })])
    expect(shown).toContain("Painting\n")
    expect(shown).not.toContain("step 1/4\n")
    expect(shown).toContain(drawBar({ step: 1, steps: 4 }))
  })

  test("a terminal without a width still gets whole words", () => {
    let shown = ""
    const output = { isTTY: true, columns: 0, write: (text: string) => (shown += text) }
    createProgressView(output, false).update(update({}))
    expect(shown).toBe("\r\u001b[2KRunning")
  })

  test("quiet shows nothing", () => {
    let shown = ""
    const view = createProgressView({ isTTY: true, write: (text) => (shown += text) }, true)
    for (const one of life) view.update(one)
    view.end()
    expect(shown).toBe("")
  })

  test("steps are read from logs, nonsense is not", () => {
    expect(readStep("Step 5/28, 0.1 s")).toEqual({ step: 5, steps: 28 })
    expect(readStep("step 9/3")).toBeNull()
    expect(readStep("1/2 cup of sugar")).toBeNull()
  })

  test("a bar has the same width at every step", () => {
    expect(drawBar({ step: 0, steps: 4 })).toBe(`${"░".repeat(28)}   0 %  step 0/4`)
    expect(drawBar({ step: 4, steps: 4 })).toBe(`${"█".repeat(28)} 100 %  step 4/4`)
  })
})
