import { resolve } from "node:path"
import { packMessage } from "@tintype/protocol"
import { expect, it } from "vitest"
import { WebSocket } from "ws"
import { removeDataFolder, startServerProcess, untilReady } from "./server-process.ts"

const app = resolve(import.meta.dirname, "apps/live.ts")
const messages = 1_000
const p50MsMax = 5

it(`adds less than ${p50MsMax} ms to an answer, half of the time`, async () => {
  const server = await startServerProcess({ args: ["--apps", app] })
  await untilReady(server.url)
  const socket = new WebSocket(`${server.url.replace("http", "ws")}/test/live/realtime`)
  await new Promise((opened) => socket.once("open", opened))
  const took: number[] = []
  for (let n = 0; n < messages; n += 1) {
    const answered = new Promise((message) => socket.once("message", message))
    const startedAt = performance.now()
    socket.send(packMessage({ n }))
    await answered
    took.push(performance.now() - startedAt)
  }
  took.sort((a, b) => a - b)
  const at = (share: number) => (took[Math.floor(took.length * share)] ?? 0).toFixed(2)
  console.log(`realtime, an app that answers at once: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`)
  expect(Number(at(0.5))).toBeLessThan(p50MsMax)
  socket.close()
  await server.kill("SIGTERM")
  await removeDataFolder(server.data)
})
