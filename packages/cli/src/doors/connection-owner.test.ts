import { spawn } from "node:child_process"
import { once } from "node:events"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { expect, test } from "vitest"
import { findConnectionOwner, findInode } from "./connection-owner.ts"

const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0CB2 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0000000000000000 100 0 0 10 0
   1: 0100007F:0CB2 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:D431 0100007F:0CB2 01 00000000:00000000 00:00000000 00000000  1000        0 13 1 0000000000000000 20 4 30 10 -1
   3: 0100007F:D432 0100007F:0CB2 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0000000000000000
`

test("the end of a connection that dialled is told from the one that answered", () => {
  expect(findInode(table, { from: 0xd431, to: 0x0cb2 })).toBe("13")
  expect(findInode(table, { from: 0x0cb2, to: 0xd431 })).toBe("12")
})

test("a connection that is closed belongs to nobody", () => {
  expect(findInode(table, { from: 0xd432, to: 0x0cb2 })).toBe(null)
  expect(findInode("", { from: 1, to: 2 })).toBe(null)
})

const skip = process.platform === "linux" ? null : "there is no /proc"
if (skip !== null) console.log(`skipped: whose a connection is (${skip})`)

test.skipIf(skip !== null)(
  "another process's connection is found, with its command line",
  async () => {
    const server = createServer().listen(0, "127.0.0.1")
    await once(server, "listening")
    const { port } = server.address() as AddressInfo
    const script = `require("node:net").connect(${port}, "127.0.0.1").on("close", () => process.exit())`
    const child = spawn(process.execPath, ["-e", script], { stdio: "ignore" })
    const [socket] = (await once(server, "connection")) as [Socket]
    const connection = { from: socket.remotePort ?? 0, to: port, seenBy: "self" } as const
    const owner = await findConnectionOwner(connection)
    expect(owner?.pid).toBe(child.pid)
    expect(owner?.command).toContain(script.slice(0, 60))
    socket.destroy()
    await once(child, "exit")
    server.close()
  },
)

test.skipIf(skip !== null)("our own is ours", async () => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  const socket = connect(port, "127.0.0.1")
  await once(socket, "connect")
  const found = await findConnectionOwner({
    from: socket.localPort ?? 0,
    to: port,
    seenBy: process.pid,
  })
  expect(found?.pid).toBe(process.pid)
  socket.destroy()
  server.close()
})
