import { randomBytes } from "node:crypto"
import { request as httpRequest } from "node:http"
import { Readable } from "node:stream"
import { buffer } from "node:stream/consumers"
import { afterEach, describe, expect, test } from "vitest"
import { type NewRequest, StoreError } from "../../store.ts"
import {
  closeAll,
  RawPeer,
  rawApp,
  secret,
  standIn,
  startRunner,
  TestServer,
  type TestServerOptions,
} from "../dispatcher.suite.ts"

afterEach(closeAll)

interface Call {
  body?: Buffer | Readable
  secret?: string
}

async function call(server: TestServer, method: string, path: string, options: Call = {}) {
  const { promise, resolve, reject } = Promise.withResolvers<{
    status: number
    type: string | undefined
    body: Buffer
  }>()
  const { body } = options
  const outgoing = httpRequest(
    {
      socketPath: server.socketPath,
      method,
      path,
      agent: false,
      headers: {
        authorization: `Bearer ${options.secret ?? secret}`,
        ...(Buffer.isBuffer(body) ? { "content-length": body.length } : {}),
      },
    },
    (incoming) => {
      const { statusCode: status = 0, headers } = incoming
      buffer(incoming).then(
        (bytes) => resolve({ status, type: headers["content-type"], body: bytes }),
        reject,
      )
    },
  )
  outgoing.on("error", reject)
  if (body instanceof Readable) body.pipe(outgoing)
  else outgoing.end(body)
  return await promise
}

/** An attempt that a raw peer holds and has accepted. */
async function running(
  options: TestServerOptions = {},
  input = Buffer.from("{}"),
  fields: Partial<NewRequest> = {},
) {
  const server = await TestServer.open(options)
  const session = randomBytes(16).toString("hex")
  const peer = await RawPeer.link(server, { session })
  peer.credit()
  const { id } = await server.submit({ input: { inline: input }, ...fields })
  const { lease } = await peer.next("assign")
  peer.send({ type: "accepted", lease })
  await peer.applied()
  return { server, session, peer, lease, id, base: `/_/transfer/${lease}` }
}

function newName(): string {
  return `b/${randomBytes(4).toString("hex")}/${randomBytes(16).toString("base64url")}.png`
}

describe("who may transfer", () => {
  test("nobody with a wrong secret or a lease that is not held: 401", async () => {
    const { server, base, peer, lease } = await running()
    expect((await call(server, "GET", `${base}/input`, { secret: "wrong" })).status).toBe(401)
    const other = `/_/transfer/${"0".repeat(32)}`
    expect((await call(server, "GET", `${other}/input`)).status).toBe(401)
    const body = Buffer.alloc(2_000_000)
    expect((await call(server, "PUT", `${other}/output`, { body })).status).toBe(401)
    peer.done(lease)
    await peer.next("settled")
    expect((await call(server, "GET", `${base}/input`)).status).toBe(401)
  })

  test("paths and methods that are not served are refused, and harm nothing", async () => {
    const { server, base } = await running()
    expect((await call(server, "GET", "//")).status).toBe(404)
    expect((await call(server, "GET", `${base}/other`)).status).toBe(404)
    expect((await call(server, "GET", `${base}/files/%E0%A4%A`)).status).toBe(400)
    expect((await call(server, "DELETE", `${base}/input`)).status).toBe(405)
    expect((await call(server, "GET", `${base}/input`)).status).toBe(200)
  })
})

describe("an input", () => {
  test("is sent as it was received [in the row, in a blob]", async () => {
    const input = Buffer.from('{"seed": 12345678901234567890}')
    const { server, base } = await running({}, input)
    expect((await call(server, "GET", `${base}/input`)).body).toEqual(input)
  })

  test("that is a blob reaches the app [a real runner]", async () => {
    const server = await TestServer.open()
    const bytes = randomBytes(500_000)
    const { name } = await server.blobs.write(Readable.from([bytes]))
    const seen = Promise.withResolvers<Uint8Array>()
    const app = rawApp("acme/echo", (input) => {
      seen.resolve(input)
      return Buffer.from("{}")
    })
    startRunner(server, [app])
    await server.submit({ input: { blob: name, bytes: bytes.length } })
    expect(Buffer.from(await seen.promise)).toEqual(bytes)
  })
})

describe("an output", () => {
  const output = randomBytes(400_000)

  test("that fits no frame comes by transfer [a real runner]", async () => {
    const server = await TestServer.open()
    startRunner(server, [rawApp("acme/echo", () => output)])
    const ended = await server.terminal((await server.submit()).id)
    expect(await server.output(ended)).toEqual(output)
  })

  test("survives a cut of the link between its PUT and `done`", async () => {
    const { server, session, peer, lease, id, base } = await running()
    expect((await call(server, "PUT", `${base}/output`, { body: output })).status).toBe(204)
    peer.cut()
    await server.logged("runner_disconnected")
    const held = [{ lease, attempt: 1, nextSeq: 1 }]
    const back = await RawPeer.link(server, { session, held, unacked: [lease] })
    back.done(lease, { body: null })
    expect(await server.output(await server.terminal(id))).toEqual(output)
  })

  test.each(["by transfer", "in a frame"])(
    "is in use, for a sweep, until its outcome is committed, however long the store refuses it [%s]",
    async (how) => {
      const refused = Promise.withResolvers<void>()
      let full = false
      const { server, peer, lease, id, base } = await running({
        limits: { inlineBytesMax: 1_000 },
        wrap: (store) =>
          standIn(store, "settle", async (settlement) => {
            if (!full) return await store.settle(settlement)
            refused.resolve()
            throw new StoreError("full", "no space")
          }),
      })
      full = true
      const body = randomBytes(5_000)
      if (how === "by transfer") await call(server, "PUT", `${base}/output`, { body })
      peer.done(lease, { body: how === "by transfer" ? null : body })
      await refused.promise
      const all: string[] = []
      for await (const name of server.blobs.list(0)) all.push(name)
      expect([...server.dispatcher.heldBlobs()]).toEqual(all)
      expect(await server.store.unreferencedBlobs(all)).toEqual(all)
      full = false
      expect(await server.output(await server.terminal(id))).toEqual(body)
      await peer.next("settled")
      expect([...server.dispatcher.heldBlobs()]).toEqual([])
    },
  )

  test("is put again when the server restarted between the PUT and `done`", async () => {
    const { server: first, session, lease, id, base } = await running()
    expect((await call(first, "PUT", `${base}/output`, { body: output })).status).toBe(204)
    const server = await TestServer.open({ folder: await first.crash() })
    // Before the hello it is not known whose it is: 5xx makes the runner try again.
    expect((await call(server, "PUT", `${base}/output`, { body: output })).status).toBe(503)
    const held = [{ lease, attempt: 1, nextSeq: 1 }]
    const back = await RawPeer.link(server, { session, held, unacked: [lease] })
    expect((await call(server, "PUT", `${base}/output`, { body: output })).status).toBe(204)
    back.done(lease, { body: null })
    expect(await server.output(await server.terminal(id))).toEqual(output)
  })

  test("that the server restarts under is not lost [a real runner]", async () => {
    const first = await TestServer.open()
    const started = Promise.withResolvers<void>()
    const finish = Promise.withResolvers<void>()
    const app = rawApp("acme/echo", async () => {
      started.resolve()
      await finish.promise
      return output
    })
    startRunner(first, [app])
    const { id } = await first.submit()
    await started.promise
    const folder = await first.crash()
    finish.resolve()
    const server = await TestServer.open({ folder })
    const ended = await server.terminal(id)
    expect(ended).toMatchObject({ state: "succeeded", attempts: 1 })
    expect(await server.output(ended)).toEqual(output)
  })

  test.each([
    ["its length says so", () => Buffer.alloc(3_000_000)],
    ["its length is not said", () => Readable.from(Array(30).fill(Buffer.alloc(100_000)))],
  ])("that is too large is told so: 413 [%s]", async (_, body) => {
    const { server, base } = await running({ limits: { bodyBytesMax: 1_000_000 } })
    expect((await call(server, "PUT", `${base}/output`, { body: body() })).status).toBe(413)
    for await (const name of server.blobs.list(0)) expect(name).toBe("")
  })

  test("that is too large ends its request, 502, and soon [a real runner]", async () => {
    const server = await TestServer.open({ limits: { bodyBytesMax: 300_000 } })
    startRunner(server, [rawApp("acme/echo", () => output)])
    const { outcome } = await server.terminal((await server.submit()).id)
    expect(outcome).toMatchObject({ status: 502, errorType: "runner_incomplete_response" })
  })
})

describe("a file", () => {
  test("is kept with its type, and read under the account of the request", async () => {
    const { server, base } = await running()
    const name = newName()
    const body = randomBytes(100_000)
    const put = await call(server, "PUT", `${base}/files/${name}?type=image%2Fpng`, { body })
    expect(put.status).toBe(204)
    const got = await call(server, "GET", `${base}/files/${name}`)
    expect(got).toEqual({ status: 200, type: "image/png", body })
    expect(await server.store.file(name)).toMatchObject({ account: "local", bytes: body.length })
  })

  test("of another account is read as its ACL says, 404 where it says no, and never written: 409", async () => {
    const { server, base } = await running()
    const blobs = [await server.blobs.write(Readable.from([Buffer.from("x")]))]
    const row = { blobs, bytes: 1, contentType: "image/png", request: null, createdAt: 1 }
    const other = { ...row, account: "other", expiresAt: null }
    for (const decision of ["allow", "forbid", "hide"] as const) {
      const name = newName()
      await server.store.addFile({ ...other, name, acl: { default: decision, rules: [] } })
      const { status } = await call(server, "GET", `${base}/files/${name}`)
      expect(status).toBe(decision === "allow" ? 200 : 404)
    }
    const name = newName()
    await server.store.addFile({ ...other, name, acl: null })
    const body = Buffer.from("y")
    expect((await call(server, "PUT", `${base}/files/${name}`, { body })).status).toBe(409)
  })

  test("expires and is open as its request says, else as the configuration does", async () => {
    const acl = { default: "hide" as const, rules: [] }
    const lifecycle = { expirationMs: 60_000, acl }
    for (const [request, kept] of [
      [{ lifecycle }, { ms: 60_000, acl }],
      [{ lifecycle: { expirationMs: null, acl: null } }, { ms: null, acl: null }],
      [{ lifecycle: { acl } }, { ms: 5_000, acl }],
      [{}, { ms: 5_000, acl: null }],
    ] as const) {
      const { server, base } = await running({ fileMs: 5_000 }, Buffer.from("{}"), request)
      const name = newName()
      const body = Buffer.from("x")
      expect((await call(server, "PUT", `${base}/files/${name}`, { body })).status).toBe(204)
      const row = await server.store.file(name)
      expect(row?.acl).toEqual(kept.acl)
      expect(row?.expiresAt).toBe(kept.ms === null ? null : (row?.createdAt ?? 0) + kept.ms)
      expect((await call(server, "GET", `${base}/files/${name}`)).status).toBe(200)
    }
  })

  test("that came in parts is read as one", async () => {
    const { server, base } = await running()
    const parts = [randomBytes(70_000), randomBytes(1), randomBytes(100_000)]
    const blobs = []
    for (const part of parts) blobs.push(await server.blobs.write(Readable.from([part])))
    const body = Buffer.concat(parts)
    const name = newName()
    const row = { name, blobs, bytes: body.length, contentType: "image/png", request: null }
    const life = { account: "local", createdAt: 1, expiresAt: null, acl: null }
    await server.store.addFile({ ...row, ...life })
    const got = await call(server, "GET", `${base}/files/${name}`)
    expect(got).toEqual({ status: 200, type: "image/png", body })
  })

  test("is what its account's settings say where its request says nothing", async () => {
    const { server, base } = await running({ fileMs: 5_000 })
    const acl = { default: "forbid" as const, rules: [] }
    await server.store.setStorage("local", { expirationMs: 7_000, acl })
    const name = newName()
    const body = Buffer.from("x")
    expect((await call(server, "PUT", `${base}/files/${name}`, { body })).status).toBe(204)
    const row = await server.store.file(name)
    expect(row).toMatchObject({ acl, expiresAt: (row?.createdAt ?? 0) + 7_000 })
  })

  test("that has expired is not there: 404", async () => {
    const { server, base } = await running()
    const blobs = [await server.blobs.write(Readable.from([Buffer.from("x")]))]
    const name = newName()
    const row = { name, blobs, bytes: 1, contentType: "image/png", request: null, createdAt: 1 }
    await server.store.addFile({ ...row, account: "local", expiresAt: 2, acl: null })
    expect((await call(server, "GET", `${base}/files/${name}`)).status).toBe(404)
  })

  test("put again is 204 and changes nothing [after the other, beside it]", async () => {
    const { server, base } = await running()
    const name = newName()
    const body = Buffer.from("first")
    const path = `${base}/files/${name}`
    const both = await Promise.all([
      call(server, "PUT", path, { body }),
      call(server, "PUT", path, { body }),
    ])
    expect(both.map(({ status }) => status)).toEqual([204, 204])
    const again = await call(server, "PUT", path, { body: Buffer.alloc(500_000) })
    expect(again.status).toBe(204)
    expect((await call(server, "GET", path)).body).toEqual(body)
  })

  test.each(["a.png", "b/../../x.png", "b/12345678/short.png", "b%2F..%2Fx", "x".repeat(500)])(
    "with a name that is not of ours is refused: 400 or 404 [%s]",
    async (name) => {
      const { server, base } = await running()
      const { status } = await call(server, "PUT", `${base}/files/${name}`, {
        body: Buffer.from("x"),
      })
      expect([400, 404]).toContain(status)
    },
  )

  test("that is too large: 413", async () => {
    const { server, base } = await running({ limits: { fileBytesMax: 1_000 } })
    const body = Buffer.alloc(2_000_000)
    const { status } = await call(server, "PUT", `${base}/files/${newName()}`, { body })
    expect(status).toBe(413)
  })

  test("with a type that no header can carry is of no type", async () => {
    const { server, base } = await running()
    const name = newName()
    const path = `${base}/files/${name}`
    const type = encodeURIComponent("image/png\r\nx-evil: 1")
    const { status } = await call(server, "PUT", `${path}?type=${type}`, { body: Buffer.from("x") })
    expect(status).toBe(204)
    expect((await call(server, "GET", path)).type).toBe("application/octet-stream")
  })
})

test("a peer that hangs up in the middle of a body harms nothing", async () => {
  const { server, base, peer, lease } = await running()
  const outgoing = httpRequest({
    socketPath: server.socketPath,
    method: "PUT",
    path: `${base}/output`,
    headers: { authorization: `Bearer ${secret}`, "content-length": 1_000_000 },
  })
  outgoing.on("error", () => {})
  outgoing.write(Buffer.alloc(1_000), () => outgoing.destroy())
  await peer.applied()
  peer.done(lease)
  expect(await peer.next("settled")).toMatchObject({ result: "settled" })
})
