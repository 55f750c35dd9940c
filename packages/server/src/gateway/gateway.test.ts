import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { connect } from "node:net"
import { Readable } from "node:stream"
import { buffer as readBuffer, text as readText } from "node:stream/consumers"
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest"
import { openTestGateway, type TestGateway } from "./gateway.suite.ts"

let gateway: TestGateway
beforeAll(async () => {
  gateway = await openTestGateway()
})
afterEach(async () => {
  await gateway.clear()
})
afterAll(async () => {
  await gateway.close()
})

const json = { "content-type": "application/json" }

/** Sends bytes as they are and answers all that comes back. */
async function raw(port: number, bytes: string): Promise<string> {
  const socket = connect(port, "127.0.0.1")
  socket.write(bytes)
  return await readText(socket)
}

const preflight = (origin: string) =>
  gateway.call("OPTIONS", "/queue/fal-ai/flux/dev", {
    headers: {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,x-fal-queue-priority",
    },
  })

describe("open mode, over HTTP", () => {
  it.each([
    [{}, 200],
    [{ host: "queue.localhost" }, 200],
    [{ host: "evil.example" }, 421],
    [{ host: "queue.fal.run" }, 421],
    [{ "x-forwarded-for": "1.2.3.4" }, 403],
    [{ forwarded: "for=1.2.3.4" }, 403],
    [{ via: "1.1 x" }, 403],
    [{ origin: "http://localhost:5173" }, 200],
    [{ origin: "https://evil.example" }, 403],
    [{ origin: "https://evil.example", upgrade: "websocket", connection: "upgrade" }, 403],
    [{ "sec-fetch-site": "cross-site" }, 403],
    [{ "sec-fetch-site": "same-origin" }, 200],
    [{ authorization: "Key anything:goes" }, 200],
  ])("%o → %d", async (headers, status) => {
    const answer = await gateway.call("GET", "/", { headers })
    expect(answer.status).toBe(status)
    expect(answer.json["detail"]).toEqual(expect.any(String))
  })

  it.each([
    ["GET http://evil.example/health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", "421"],
    ["GET http://queue.fal.run/health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", "421"],
    ["GET http://localhost/health HTTP/1.1\r\nhost: evil.example\r\n\r\n", "200"],
    ["CONNECT fal.run:443 HTTP/1.1\r\nhost: fal.run:443\r\n\r\n", "405"],
    ["GET /health HTTP/1.1\r\nhost: localhost\r\nexpect: 200-ok\r\n\r\n", "200"],
  ])("goes by the authority of a target [%j]", async (request, status) => {
    const socket = connect(gateway.port, "127.0.0.1")
    socket.write(request)
    const [answer] = (await once(socket, "data")) as [Buffer]
    socket.destroy()
    expect(answer.toString()).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(answer.toString()).toMatch(/application\/json/i)
  })

  it("asks for no body that it would refuse", async () => {
    const length = gateway.parts.config.limits.bodyBytesMax + 1
    const socket = connect(gateway.port, "127.0.0.1")
    const head = `POST /run/tintype/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${length}`
    socket.write(`${head}\r\nexpect: 100-continue\r\n\r\n`)
    const [answer] = (await once(socket, "data")) as [Buffer]
    socket.destroy()
    expect(answer.toString()).toMatch(/^HTTP\/1.1 413 /)
  })

  it("serves another site's page public files alone", async () => {
    const headers = { "sec-fetch-site": "cross-site" }
    expect((await gateway.call("GET", "/files/x", { headers })).status).toBe(404)
    expect((await gateway.call("GET", "/v1/models", { headers })).status).toBe(403)
  })

  it("shares its answers with origins that may call, errors included", async () => {
    const headers = { origin: "http://localhost:5173" }
    for (const [path, status] of [
      ["/health", 200],
      ["/queue/no/app", 405],
      ["/v1/nope", 501],
    ] as const) {
      const answer = await gateway.call("GET", path, { headers })
      expect(answer.status).toBe(status)
      expect(answer.headers["access-control-allow-origin"]).toBe("http://localhost:5173")
      expect(answer.headers["access-control-expose-headers"]).toContain("x-fal-request-id")
      expect(answer.headers["vary"]).toBe("origin")
    }
  })

  it("answers preflights of origins that may call", async () => {
    const answer = await preflight("http://localhost:5173")
    expect(answer.status).toBe(204)
    expect(answer.headers).toMatchObject({
      "access-control-allow-origin": "http://localhost:5173",
      "access-control-allow-headers": "authorization,x-fal-queue-priority",
    })
    expect((await preflight("https://evil.example")).status).toBe(403)
  })
})

describe("a server with a key", () => {
  let keyed: TestGateway
  beforeAll(async () => {
    keyed = await openTestGateway({ config: { key: "id:secret" } })
  })
  afterAll(async () => {
    await keyed.close()
  })

  it.each([
    ["POST", "/queue/fal-ai/flux/dev", {}, 401, 'Cannot access application "fal-ai/flux"'],
    ["GET", "/queue/fal-ai/flux/requests/x/status", {}, 401, "Cannot access application"],
    ["GET", "/v1/unknown", {}, 401, "Authorization header is required"],
    ["GET", "/console", {}, 401, "Authorization header is required"],
    ["POST", "/run/fal-ai/flux", { authorization: "Key id:wrong" }, 401, "invalid key credentials"],
    [
      "POST",
      "/run/fal-ai/flux",
      { authorization: "Key x" },
      401,
      "Invalid Key Authorization header",
    ],
    ["GET", "/", { authorization: "Key id:secret" }, 200, ""],
    ["GET", "/v1/models", { authorization: "Key id:secret" }, 200, ""],
    ["GET", "/", { authorization: "Key id:secret", origin: "https://evil.example" }, 200, ""],
    ["GET", "/", { authorization: "Key id:secret", host: "any.example", via: "x" }, 200, ""],
    ["GET", "/health", {}, 200, ""],
    ["GET", "/files/nope", {}, 404, "File not found"],
    ["POST", "/files/upload", {}, 401, "Authorization"],
    ["GET", "/api/openapi/queue/openapi.json?endpoint_id=fal-ai/flux/dev", {}, 200, ""],
  ])("%s %s %o → %d %s", async (method, path, headers, status, detail) => {
    const answer = await keyed.call(method, path, { headers })
    expect(answer.status).toBe(status)
    expect(answer.body.toString()).toContain(JSON.stringify(detail).slice(1, -1))
    expect(answer.headers["access-control-allow-origin"]).toBe("*")
    expect(answer.headers).not.toHaveProperty("access-control-allow-credentials")
  })

  it("needs none for a preflight", async () => {
    const headers = { origin: "https://a.example", "access-control-request-method": "POST" }
    expect((await keyed.call("OPTIONS", "/run/fal-ai/flux", { headers })).status).toBe(204)
  })

  it("goes by foreign hosts, and refuses other fal hosts by name", async () => {
    const authorization = "Key id:secret"
    const submit = await keyed.call("POST", "/fal-ai/flux/dev", {
      headers: { authorization, host: "queue.fal.run" },
      body: "{}",
    })
    expect(String(submit.json["status_url"])).toMatch(
      /^https:\/\/queue\.fal\.run\/fal-ai\/flux\/requests\/[^/]+\/status$/,
    )
    const other = await keyed.call("GET", "/", { headers: { authorization, host: "wma.fal.run" } })
    expect([other.status, other.json["detail"]]).toEqual([
      501,
      "wma.fal.run is not served by this server",
    ])
    await keyed.clear()
  })
})

const proxy = (target: string | undefined, method = "POST", body?: string) =>
  gateway.call(method, "/api/fal/proxy", {
    headers: { ...json, ...(target === undefined ? {} : { "x-fal-target-url": target }) },
    ...(body === undefined ? {} : { body }),
  })

describe("the proxy door", () => {
  it("carries queue calls for foreign hosts, and writes its own origin", async () => {
    const submit = await proxy("https://queue.fal.run/fal-ai/flux/dev", "POST", '{"prompt":"x"}')
    const id = String(submit.json["request_id"])
    const url = `${gateway.url}/queue/fal-ai/flux/requests/${id}`
    expect(submit.json).toMatchObject({ status_url: `${url}/status`, response_url: url })
    const target = `https://queue.fal.run/fal-ai/flux/requests/${id}`
    const status = await proxy(`${target}/status?logs=1`, "GET")
    expect([status.status, status.json["logs"]]).toEqual([202, []])
    const cancelled = await proxy(`${target}/cancel`, "PUT")
    expect([cancelled.status, cancelled.json["status"]]).toEqual([200, "OK"])
    expect((await proxy(target, "GET")).status).toBe(499)
  })

  it("carries run calls, and files lie under its own origin", async () => {
    const claimed = gateway.claimNext()
    const answered = proxy("https://fal.run/fal-ai/flux/dev", "POST", "{}")
    const claim = await claimed
    expect(claim.fileBase).toBe(`${gateway.url}/files`)
    await gateway.settle(claim)
    expect((await answered).status).toBe(200)
  })

  it("carries calls for this server", async () => {
    expect((await proxy(`${gateway.url}/health`, "GET")).json["status"]).toBe("ok")
    const { port } = new URL(gateway.url)
    expect((await proxy(`http://localhost:${port}/health`, "GET")).json["status"]).toBe("ok")
    expect((await proxy("https://api.fal.ai/v1/models", "GET")).json["models"]).toHaveLength(3)
  })

  it.each([
    [undefined, 400],
    ["", 400],
    ["nonsense", 400],
    ["https://example.com/fal-ai/flux/dev", 412],
    ["https://evilfal.run/a/b", 412],
    ["https://fal.run.evil.example/a/b", 412],
    ["file:///etc/passwd", 412],
    ["ftp://fal.run/a/b", 412],
    ["http://127.0.0.1:1/a/b", 412],
    ["https://wma.fal.run/x", 501],
    ["https://rest.fal.ai/workflows/", 501],
  ])("refuses %s with %d", async (target, status) => {
    const answer = await proxy(target)
    expect(answer.status).toBe(status)
    expect(answer.json["detail"]).toEqual(expect.any(String))
  })

  it("does not call itself", async () => {
    expect((await proxy(`${gateway.url}/api/fal/proxy`)).status).toBe(400)
  })
})

const chunkedHead = (path: string) =>
  `GET ${path} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n`

const failHealth = (): never => {
  throw new Error("secret reason")
}

describe("errors have the API's shape", () => {
  it.each(["{", "nope", '{"a":1}x', "\u0000", "[1,]"])("bad JSON is 400 [%s]", async (body) => {
    for (const path of ["/queue/fal-ai/flux/dev", "/run/fal-ai/flux/dev"]) {
      const answer = await gateway.call("POST", path, { headers: json, body })
      expect(answer.status).toBe(400)
      expect(answer.json).toEqual({
        detail: "The body is not valid JSON",
        error_type: "bad_request",
      })
      expect(answer.headers["x-fal-error-type"]).toBe("bad_request")
    }
  })

  it("JSON that is not UTF-8 is 400", async () => {
    const body = Buffer.from([0x22, 0xff, 0x22])
    const answer = await gateway.call("POST", "/queue/fal-ai/flux/dev", { headers: json, body })
    expect(answer.status).toBe(400)
  })

  it("bad JSON of a body kept as a blob is 400", async () => {
    const body = `{"a":"${"x".repeat(200_000)}"`
    const answer = await gateway.call("POST", "/queue/fal-ai/flux/dev", { headers: json, body })
    expect([answer.status, answer.json["error_type"]]).toEqual([400, "bad_request"])
  })

  it("a body that is too large is 413, by its length and by its bytes, and the connection lives", async () => {
    const small = await openTestGateway({ limits: { bodyBytesMax: 100_000 } })
    const body = Buffer.alloc(150_000, "1")
    const headers: Record<string, string>[] = [{}, { "transfer-encoding": "chunked" }]
    for (const framing of headers) {
      const answer = await small.call("POST", "/queue/fal-ai/flux/dev", {
        headers: { ...json, ...framing },
        body,
      })
      expect(answer.status).toBe(413)
      expect(answer.json).toEqual({
        detail: "The body is larger than 100000 bytes",
        error_type: "bad_request",
      })
    }
    const next = "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    const head = `POST /queue/fal-ai/flux/dev HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n`
    const both = await raw(small.port, head + body.toString() + next)
    expect(both.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 413", "HTTP/1.1 200"])
    await small.close()
  })

  it.each([
    ["fal-ai/fluks/dev", 'Application "fal-ai/fluks" not found', "fal-ai/flux/dev"],
    ["tintipe/echo", 'Application "tintipe/echo" not found', "tintype/echo"],
    ["zzz/yyyyyyyyyyyyyyyyy", 'Application "zzz/yyyyyyyyyyyyyyyyy" not found', undefined],
    ["nope", 'Application "nope" not found', undefined],
    ["fal-ai/fl ux", 'Application "fal-ai/fl%20ux" not found', undefined],
    ["a/../b", 'Application "a/../b" not found', undefined],
    ["%E0%A4%A", 'Application "%E0%A4%A" not found', undefined],
  ])("an illegal id or unknown app is 404 [%s]", async (id, detail, nearest) => {
    for (const surface of ["queue", "run"]) {
      const path = `/${surface}/${id.replace(" ", "%20")}`
      const answer = await gateway.call("POST", path, { headers: json, body: "{}" })
      expect([answer.status, answer.json]).toEqual([
        404,
        nearest === undefined ? { detail } : { detail, nearest },
      ])
    }
  })

  it.each(["nonsense", "GET", "GET / HTTP/1.1\r\nbad header\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"])(
    "bytes that are not HTTP are 400 [%j]",
    async (bytes) => {
      const answer = await raw(gateway.port, `${bytes}\r\n\r\n`)
      expect(answer).toMatch(/^HTTP\/1\.1 400 /)
      expect(answer).toContain('"error_type":"bad_request"')
    },
  )

  it("a chunk that is none is 400, and never goes into an answer that is under way", async () => {
    expect(
      await raw(gateway.port, `${chunkedHead("/health").replace("GET", "POST")}zz\r\n`),
    ).toMatch(/HTTP\/1\.1 4\d\d /)
    const id = await gateway.submit()
    const socket = connect(gateway.port, "127.0.0.1")
    socket.write(chunkedHead(`/queue/fal-ai/flux/requests/${id}/status/stream`))
    let answer = ""
    socket.on("data", (chunk) => {
      answer += String(chunk)
      if (answer.includes("data: ")) socket.write("zz\r\n")
    })
    await once(socket, "close")
    expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1)
  })

  it("a tunnel is refused, and not held open by whoever asked for it", async () => {
    const socket = connect({ port: gateway.port, host: "127.0.0.1", allowHalfOpen: true })
    socket.on("error", () => {})
    socket.write("CONNECT fal.run:443 HTTP/1.1\r\nhost: fal.run:443\r\n\r\n")
    expect(await readText(socket)).toMatch(/^HTTP\/1\.1 405 /)
    await vi.waitFor(() => {
      socket.write("x")
      expect(socket.destroyed).toBe(true)
    })
  })

  it("headers beyond the limit are 431", async () => {
    const bytes = `GET / HTTP/1.1\r\nhost: localhost\r\nx: ${"y".repeat(100_000)}\r\n\r\n`
    expect(await raw(gateway.port, bytes)).toMatch(/^HTTP\/1\.1 431 /)
  })

  it("a call without Host is refused in shape", async () => {
    const answer = await raw(gateway.port, "GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
    expect(answer).toMatch(/^HTTP\/1\.1 421 /)
    expect(answer).toContain('{"detail":')
  })

  it.each(["PROPFIND", "QUERY", "TRACE", "PATCH"])("%s is 405 with Allow", async (method) => {
    const answer = await gateway.call(method, "/run/fal-ai/flux/dev", {
      headers: { "content-type": "nonsense" },
    })
    expect([answer.status, answer.headers["allow"]]).toEqual([405, "POST"])
  })

  it.each([
    ["/ws/fal-ai/flux", 501],
    ["/rest/workflows/", 501],
    ["/kv/get/a/b", 501],
    ["/console", 404],
    ["/metrics", 404],
    ["/_/nothing", 404],
    ["/_/transfer/x/input", 404],
    ["/.well-known/other.json", 404],
    ["/api/models", 404],
  ])("%s is refused by name with %d", async (path, status) => {
    const answer = await gateway.call("POST", path, { headers: json, body: "{}" })
    expect(answer.status).toBe(status)
    expect(answer.json["detail"]).toEqual(expect.any(String))
  })

  it("a store whose disk is full is 429, and reads go on", async () => {
    const own = await openTestGateway({ store: { pagesMax: 90 } })
    const body = JSON.stringify("x".repeat(30_000))
    let answer = await own.call("POST", "/queue/fal-ai/flux/dev", { headers: json, body })
    while (answer.status === 200) {
      answer = await own.call("POST", "/queue/fal-ai/flux/dev", { headers: json, body })
    }
    expect([answer.status, answer.json["error_type"]]).toEqual([429, "storage_full"])
    expect(answer.headers["x-fal-error-type"]).toBe("storage_full")
    expect(answer.headers["retry-after"]).toMatch(/^\d+$/)
    expect((await own.call("GET", "/v1/models")).status).toBe(200)
    await own.close()
  })

  it("a store that is closed is 429, as the server stops", async () => {
    const own = await openTestGateway()
    await own.call("GET", "/v1/models")
    await own.store.close()
    const answer = await own.call("POST", "/queue/fal-ai/flux/dev", { headers: json, body: "{}" })
    expect([answer.status, answer.json["error_type"]]).toEqual([429, "server_stopping"])
    await own.close()
  })

  it("what nobody expected is 500 without a word of why, which is in the log", async () => {
    const own = await openTestGateway({ parts: { health: failHealth } })
    const answer = await own.call("GET", "/health")
    const id = String(answer.headers["x-fal-request-id"])
    expect(id).toMatch(/^[0-9a-f-]{36}$/)
    expect([answer.status, answer.json]).toEqual([
      500,
      { detail: "Internal error", error_type: "internal_error", request_id: id },
    ])
    expect(own.entries).toContainEqual({
      event: "error",
      requestId: id,
      error: new Error("secret reason"),
    })
    await own.close()
  })
})

/** Sends a JSON string from another process, for the sender's own work must not count; answers the longest delay. */
async function measureUpload(bytes: number): Promise<{ status: string; blockedMs: number }> {
  const script = `
    const bytes = Buffer.alloc(${bytes}, "abcdefgh")
    bytes[0] = bytes[bytes.length - 1] = 0x22
    const path = "/queue/tintype/echo"
    const headers = { "content-type": "application/json" }
    const target = { host: "127.0.0.1", port: ${gateway.port}, path, method: "POST", headers }
    require("node:http").request(target, (incoming) => {
      console.log(incoming.statusCode)
      incoming.resume()
    }).end(bytes)`
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] })
  // Starting a process blocks too, but is the test's own doing.
  const stop = watchLoop()
  const status = await readText(child.stdout)
  return { status: status.trim(), blockedMs: stop() }
}

/** Watches the event loop until the returned function is called, which answers its longest delay. */
function watchLoop(): () => number {
  const everyMs = 5
  let longestMs = 0
  let last = { at: performance.now(), starvedMs: starvedMs() }
  const timer = setInterval(() => {
    const current = { at: performance.now(), starvedMs: starvedMs() }
    const lateMs = current.at - last.at - everyMs
    longestMs = Math.max(longestMs, lateMs - (current.starvedMs - last.starvedMs))
    last = current
  }, everyMs)
  return () => {
    clearInterval(timer)
    return longestMs
  }
}

/** How long this thread was ready to run while other processes had the processors; Linux knows, others say 0. */
function starvedMs(): number {
  if (process.platform !== "linux") return 0
  return Number(readFileSync("/proc/thread-self/schedstat", "utf8").split(" ")[1]) / 1e6
}

describe("bodies", () => {
  it("a 60 MB body passes unchanged and does not block the event loop for more than 50 ms", async () => {
    const bytes = Buffer.alloc(60 * 1024 * 1024, "abcdefgh")
    bytes[0] = 0x22
    bytes[bytes.length - 1] = 0x22
    // A busy machine may still delay the loop once, in a page fault or a collection; what blocks it does each time.
    let blockedMs = Infinity
    for (let times = 0; times < 6 && blockedMs >= 50; times += 1) {
      const upload = await measureUpload(bytes.length)
      expect(upload.status).toBe("200")
      blockedMs = Math.min(blockedMs, upload.blockedMs)
    }
    expect(blockedMs).toBeLessThan(50)
    const { input } = await gateway.claim("tintype/echo")
    expect(input).toMatchObject({ bytes: bytes.length })
    const stored = "blob" in input ? await gateway.parts.blobs.read(input.blob) : null
    const read = await readBuffer(stored ?? Readable.from([]))
    expect(read.equals(bytes)).toBe(true)
  }, 60_000)

  it("a sender that stands still within its body is answered and ended, never with 408", async () => {
    const impatient = await openTestGateway({ timing: { bodyGraceMs: 50 } })
    const head = "POST /queue/tintype/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n"
    const answer = await raw(impatient.port, `${head}{`)
    expect(answer).toMatch(/^HTTP\/1\.1 400 .*\r\nconnection: close\r\n/is)
    expect(answer).toContain("slower than 1024 bytes a second")
    await impatient.close()
  })

  it("big integers and __proto__ of a blob are kept as received", async () => {
    const body = `{"__proto__":1, "n": 12345678901234567890, "pad":"${"ä".repeat(40_000)}"}`
    await gateway.submit(body, "tintype/echo")
    const { input } = await gateway.claim("tintype/echo")
    const stored = "blob" in input ? await gateway.parts.blobs.read(input.blob) : null
    expect(await readText(stored ?? Readable.from([]))).toBe(body)
  })
})

describe("the log", () => {
  it("has one line a request, without secrets", async () => {
    const logged = gateway.nextEntry()
    await gateway.call("GET", "/health?fal_jwt_token=s3cret&x=1", {
      headers: { authorization: "Key id:s3cret" },
    })
    const entry = await logged
    expect(entry).toMatchObject({
      event: "request",
      method: "GET",
      path: "/health?fal_jwt_token=redacted&x=1",
      status: 200,
      requestId: null,
    })
    expect(JSON.stringify(entry)).not.toContain("s3cret")
  })

  it("names the request of a submit", async () => {
    const logged = gateway.nextEntry()
    const id = await gateway.submit()
    expect(await logged).toMatchObject({ method: "POST", status: 200, requestId: id })
  })
})

describe("connections", () => {
  it("are kept for 72 s, longer than the clients' pools keep them", async () => {
    const socket = connect(gateway.port, "127.0.0.1")
    socket.write("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
    const [chunk] = await once(socket, "data")
    expect(String(chunk)).toMatch(/keep-alive: timeout=72/i)
    socket.destroy()
  })

  it("are told to close while the server drains", async () => {
    const own = await openTestGateway()
    const bytes = "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
    own.parts.draining = true
    const answer = await raw(own.port, bytes)
    expect(answer).toMatch(/^HTTP\/1\.1 200 /)
    expect(answer).toMatch(/connection: close/i)
    await own.close()
  })
})
