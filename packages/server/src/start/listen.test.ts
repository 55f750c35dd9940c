import { createServer, type Server } from "node:http"
import { afterEach, describe, expect, test } from "vitest"
import { defaultConfig } from "../config.ts"
import { checkExposure, closeGateway, isLoopbackHost, listen } from "./listen.ts"

const open: Server[] = []

afterEach(async () => {
  for (const one of open.splice(0)) await closeGateway(one)
})

function gateway(): Server {
  const made = createServer((_, response) => response.writeHead(404).end())
  open.push(made)
  return made
}

const at =
  (host: string, key: string | null = null, anyKey = false) =>
  () =>
    checkExposure({ ...defaultConfig, host, key }, anyKey)

test("a server without a key serves loopback alone", () => {
  for (const host of ["127.0.0.1", "127.9.9.9", "::1", "localhost"]) expect(at(host)).not.toThrow()
  for (const host of ["0.0.0.0", "::", "192.168.0.1", "127.0.0.1.evil.com", "example.com", ""]) {
    expect(at(host)).toThrow(/TINTYPE_KEY/)
    expect(isLoopbackHost(host)).toBe(false)
  }
  expect(at("0.0.0.0", "id:secret")).not.toThrow()
  expect(at("0.0.0.0", null, true)).not.toThrow()
})

describe("listen", () => {
  test("answers the address it is bound to [port 0]", async () => {
    const url = await listen(gateway(), { ...defaultConfig, port: 0 })
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:[1-9]\d*$/)
    expect((await fetch(url)).status).toBe(404)
  })

  test("names the port that is taken", async () => {
    const url = await listen(gateway(), { ...defaultConfig, port: 0 })
    const port = Number(new URL(url).port)
    await expect(listen(gateway(), { ...defaultConfig, port })).rejects.toMatchObject({
      code: "port_taken",
      message: expect.stringContaining(`Port ${port}`),
    })
  })

  test("names the address that is not of this machine", async () => {
    const config = { ...defaultConfig, host: "203.0.113.1", port: 0 }
    await expect(listen(gateway(), config)).rejects.toMatchObject({ code: "settings" })
  })
})
