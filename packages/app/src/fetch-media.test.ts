import { once } from "node:events"
import { createServer, type RequestListener, type Server } from "node:http"
import { afterEach, describe, expect, it } from "vitest"
import { fetchMedia, type FetchMediaOptions } from "./fetch-media.ts"
import { ModelError } from "./model-error.ts"

const servers: Server[] = []

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
    await once(server, "close")
  }
})

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  servers.push(server)
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  if (address === null || typeof address === "string") throw new Error("no port")
  return `http://127.0.0.1:${address.port}`
}

function optionsOf(changes: Partial<FetchMediaOptions> = {}): FetchMediaOptions {
  return {
    ownFile: () => null,
    readOwnFile: () => Promise.reject(new Error("no own files")),
    allowPrivate: true,
    bytesMax: 1000,
    timeoutMs: 10_000,
    signal: new AbortController().signal,
    field: ["image_url"],
    ...changes,
  }
}

async function faultOf(url: string, changes?: Partial<FetchMediaOptions>) {
  const error: unknown = await fetchMedia(url, optionsOf(changes)).then(
    () => new Error("it was read"),
    (reason: unknown) => reason,
  )
  if (!(error instanceof ModelError)) throw error
  return error.item
}

const textOf = async (url: string, changes?: Partial<FetchMediaOptions>) => {
  const { bytes, contentType } = await fetchMedia(url, optionsOf(changes))
  return `${contentType} ${Buffer.from(bytes).toString("utf8")}`
}

describe("fetchMedia reads", () => {
  it("a file over http, with its type", async () => {
    const base = await serve((request, response) => {
      response.setHeader("content-type", "image/png").end(`png of ${request.url}`)
    })
    expect(await textOf(`${base}/a?b=c`)).toBe("image/png png of /a?b=c")
  })

  it("a file of just the largest size, without a type or a length", async () => {
    const base = await serve((_, response) => {
      response.write("x".repeat(400))
      response.end("x".repeat(600))
    })
    const { bytes, contentType } = await fetchMedia(base, optionsOf())
    expect([bytes.length, contentType]).toEqual([1000, "application/octet-stream"])
  })

  it("by a name that resolves to loopback, when private targets are allowed", async () => {
    const base = await serve((_, response) => response.end("hi"))
    expect(await textOf(base.replace("127.0.0.1", "localhost"))).toContain("hi")
  })

  it.each([301, 302, 303, 307, 308])("through a %d redirect", async (status) => {
    const base = await serve((request, response) => {
      if (request.url === "/end") response.end("there")
      else response.writeHead(status, { location: "end" }).end()
    })
    expect(await textOf(`${base}/start`)).toContain("there")
  })

  it.each([
    ["data:text/plain;base64,aMOp", "text/plain hé"],
    ["data:text/plain;charset=utf-8,h%C3%A9%20%2b+", "text/plain;charset=utf-8 hé ++"],
    ["data:,hi", "text/plain hi"],
    ["data:;base64,aGk", "text/plain hi"],
    ["DATA:image/png;BASE64,aGk=", "image/png hi"],
    ["data:image/png;base64,aG%6B%3D", "image/png hi"],
    ["data:image/png;base64,aG k=\n", "image/png hi"],
    ["data:text/plain,hé", "text/plain hé"],
  ])("%j", async (uri, text) => {
    expect(await textOf(uri)).toBe(text)
  })

  it("our own files without the network, also behind a redirect", async () => {
    const own: Partial<FetchMediaOptions> = {
      ownFile: ({ hostname, pathname }) =>
        hostname === "ours.invalid" ? pathname.replace("/files/", "") : null,
      readOwnFile: async (name) => ({ bytes: Buffer.from(name), contentType: "image/webp" }),
    }
    expect(await textOf("http://ours.invalid/files/a.webp", own)).toBe("image/webp a.webp")
    const location = "http://ours.invalid/files/b.webp"
    const base = await serve((_, response) => response.writeHead(302, { location }).end())
    expect(await textOf(base, own)).toBe("image/webp b.webp")
    expect(await faultOf(location, { ...own, bytesMax: 3 })).toMatchObject({
      type: "file_too_large",
    })
  })
})

describe("fetchMedia refuses", () => {
  const download = { type: "file_download_error", loc: ["body", "image_url"] }
  const large = { type: "file_too_large", loc: ["body", "image_url"], ctx: { max_size: 1000 } }

  it.each([
    "http://127.0.0.1",
    "http://localhost",
    "http://[::1]",
    "http://[::ffff:127.0.0.1]",
    "http://2130706433",
    "http://0x7f.1",
    "http://0.0.0.0",
    "http://10.0.0.1",
    "http://192.168.1.1",
    "http://100.64.0.1",
    "http://169.254.169.254",
    "http://[fd00::1]",
    "http://[64:ff9b::7f00:1]",
    "https://127.0.0.1",
  ])("%s, which is no public address, before it connects", async (url) => {
    let calls = 0
    const base = await serve((_, response) => {
      calls++
      response.end("secret")
    })
    const item = await faultOf(`${url}:${new URL(base).port}/`, { allowPrivate: false })
    expect(item).toMatchObject(download)
    expect(item.msg).toContain("is not a public address")
    expect(calls).toBe(0)
  })

  it.each(["http://169.254.169.254/latest", "http://224.0.0.1/", "http://[fe80::1]/"])(
    "a redirect to %s, even when private targets are allowed",
    async (location) => {
      const base = await serve((_, response) => response.writeHead(302, { location }).end())
      expect((await faultOf(base)).msg).toContain("is not a public address")
    },
  )

  it.each(["file:///etc/passwd", "ftp://example.com/a", "data:,hi", "javascript:alert(1)"])(
    "a redirect to %s",
    async (location) => {
      const base = await serve((_, response) => response.writeHead(302, { location }).end())
      expect((await faultOf(base)).msg).toContain("is not supported")
    },
  )

  it.each(["file:///etc/passwd", "ftp://example.com/a", "blob:x", "/relative", "", "http://"])(
    "the URL %j",
    async (url) => {
      expect(await faultOf(url)).toMatchObject(download)
    },
  )

  it("the fourth redirect [a loop]", async () => {
    let calls = 0
    const base = await serve((_, response) => {
      calls++
      response.writeHead(302, { location: "/again" }).end()
    })
    expect((await faultOf(base)).msg).toContain("more than 3 redirects")
    expect(calls).toBe(4)
  })

  it("a file that says it is too large, without reading it", async () => {
    const base = await serve((_, response) => {
      response.writeHead(200, { "content-length": 1001 }).flushHeaders()
    })
    expect(await faultOf(base)).toMatchObject(large)
  })

  it("a file that turns out too large, and hangs up", async () => {
    const hungUp = Promise.withResolvers<void>()
    const base = await serve((_, response) => {
      response.once("close", hungUp.resolve)
      const more = (): void => {
        while (response.write("x".repeat(500)));
        response.once("drain", more)
      }
      more()
    })
    expect(await faultOf(base)).toMatchObject(large)
    await hungUp.promise
  })

  it("a data URI that is too large", async () => {
    expect(await faultOf(`data:,${"x".repeat(1001)}`)).toMatchObject(large)
    expect(await faultOf(`data:;base64,${"eHh4".repeat(334)}`)).toMatchObject(large)
  })

  it.each(["data:hi", "data:;base64,a!", "data:,%zz", "data:;base64,a=b"])(
    "the malformed %s",
    async (uri) => {
      expect((await faultOf(uri)).msg).toContain("malformed")
    },
  )

  it("malformed base64 in linear time [many spaces]", async () => {
    const started = performance.now()
    const uri = `data:;base64,${" ".repeat(1_000_000)}!`
    expect((await faultOf(uri, { bytesMax: 1_000_000 })).msg).toContain("malformed")
    expect(performance.now() - started).toBeLessThan(2000)
  })

  it.each([404, 500, 304, 302])("the status %d", async (status) => {
    const base = await serve((_, response) => response.writeHead(status).end())
    expect((await faultOf(base)).msg).toContain(`the server answered ${status}`)
  })

  it("a server that does not answer in time", async () => {
    const base = await serve(() => {})
    expect((await faultOf(base, { timeoutMs: 50 })).msg).toContain("no answer within 0.05 s")
  })

  it("a server that stops in the middle of its answer in time", async () => {
    const base = await serve((_, response) => response.write("x"))
    expect((await faultOf(base, { timeoutMs: 50 })).msg).toContain("no answer within 0.05 s")
  })

  it("a server that closes in the middle of its answer", async () => {
    const base = await serve((_, response) => {
      response.writeHead(200, { "content-length": 100 })
      response.write("x", () => response.destroy())
    })
    expect(await faultOf(base)).toMatchObject(download)
  })

  it("a server that is not there", async () => {
    const base = await serve((_, response) => response.end())
    servers[0]?.close()
    expect((await faultOf(base)).msg).toContain("ECONNREFUSED")
    servers.length = 0
  })

  it("a name that does not exist", async () => {
    expect(await faultOf("http://nothing.invalid/a.png")).toMatchObject(download)
  })
})

describe("fetchMedia, aborted,", () => {
  it("rejects with the reason, at any time", async () => {
    const controller = new AbortController()
    const called = Promise.withResolvers<void>()
    const base = await serve((_, response) => response.write("x", () => called.resolve()))
    const reading = fetchMedia(base, optionsOf({ signal: controller.signal }))
    await called.promise
    controller.abort(new Error("cancelled"))
    await expect(reading).rejects.toThrow("cancelled")
    const again = fetchMedia("data:,hi", optionsOf({ signal: controller.signal }))
    await expect(again).rejects.toThrow("cancelled")
  })
})
