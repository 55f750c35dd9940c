import { execFile } from "node:child_process"
import { once } from "node:events"
import { readFile, writeFile } from "node:fs/promises"
import { connect, createServer, type Server, type Socket } from "node:net"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { foreignHosts } from "@tintype/protocol"
import { CommandError } from "../terminal.ts"
import type { RelayedFrom } from "./guard-proxy.ts"
import type { Bridge, InsideFailure, InsideOrder } from "./inside.ts"
import { joinSockets } from "./join-sockets.ts"
import { type Program, runProgram } from "./program.ts"

/** Where the proxy is found inside: nobody else is there, so any port will do. */
export const insideProxyPort = 3128

/**
 * A network of the program's own, which has a loopback and nothing else. The ports that it finds there are bridged to us over
 * Unix sockets: the proxy, the server, and at 443 the port where the server ends TLS, because inside the names of the hosted
 * service mean loopback. So a program that knows of no proxy calls Tintype all the same, and nobody else.
 */
export interface Isolation {
  /** For sockets and the hosts file; nobody else can enter it. */
  folder: string
  tlsDoor: { host: string; port: number }
  /** Of the server, when it is on our loopback: inside, it is found there as well. */
  serverPort: number | null
  /** Takes a connection to the proxy. */
  onProxied: (socket: Socket, from: RelayedFrom) => void
}

/** Runs the program inside. Resolves to its exit code; `CommandError` says why there is no such network here. */
export async function runIsolated(
  program: Program,
  isolation: Isolation,
  say: (line: string) => void,
): Promise<number> {
  const { folder, tlsDoor, serverPort, onProxied } = isolation
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0]
  await checkNamespaces(uid, gid)
  await using undo = new AsyncDisposableStack()
  const bridges: Bridge[] = []
  const open = async (port: number, serve: (socket: Socket, from: number) => void) => {
    const socketPath = join(folder, `${port}.sock`)
    undo.defer(await listen(socketPath, serve))
    bridges.push({ port, socketPath })
  }
  let inside = 0
  await open(443, (socket) => joinTo(socket, tlsDoor))
  await open(insideProxyPort, (socket, from) => {
    onProxied(socket, { from, to: insideProxyPort, seenBy: inside })
  })
  if (serverPort !== null) {
    await open(serverPort, (socket) => joinTo(socket, { host: "127.0.0.1", port: serverPort }))
  }
  const hostsPath = await writeHosts(folder)
  const order: InsideOrder = { program, bridges, hostsPath, uid, gid }
  let failure: string | null = null
  const first = {
    ...program,
    command: "unshare",
    args: [...networkFlags, "--", ...insideCommand()],
  }
  const code = await runProgram({ ...first, env: process.env }, say, (child) => {
    inside = child.pid ?? 0
    child.once("message", (message) => (failure = (message as InsideFailure).failed))
    child.send(order)
  })
  if (failure !== null) throw new CommandError(`--isolate: ${String(failure)}`)
  return code
}

const networkFlags = ["--user", "--map-root-user", "--net", "--mount"]

function insideCommand(): string[] {
  const isSource = import.meta.url.endsWith(".ts")
  const entry = new URL(isSource ? "./inside.ts" : "./inside.js", import.meta.url)
  const flags = isSource ? ["--conditions=tintype-source"] : []
  return [process.execPath, ...flags, fileURLToPath(entry)]
}

/** What is allowed differs from system to system, so it is tried. */
async function checkNamespaces(uid: number, gid: number): Promise<void> {
  if (process.platform !== "linux") throw new CommandError("--isolate needs Linux")
  const own = ["unshare", "--user", `--map-user=${uid}`, `--map-group=${gid}`]
  try {
    await promisify(execFile)("unshare", [...networkFlags, "--", ...own, "--", "true"])
  } catch (error) {
    const { code, stderr = "" } = error as { code?: unknown; stderr?: string }
    const why =
      code === "ENOENT"
        ? "the command unshare (util-linux) is missing"
        : stderr.trim().split("\n")[0]
    throw new CommandError(
      `--isolate needs user and network namespaces, which this system does not allow: ${why}. ` +
        "Containers often forbid them; Ubuntu allows them with kernel.apparmor_restrict_unprivileged_userns=0",
      { cause: error },
    )
  }
}

/** Ours first, as the first that names a host decides. */
async function writeHosts(folder: string): Promise<string> {
  const path = join(folder, "hosts")
  const system = await readFile("/etc/hosts", "utf8").catch(() => "127.0.0.1 localhost\n")
  await writeFile(path, `127.0.0.1 ${Object.keys(foreignHosts).join(" ")}\n${system}`)
  return path
}

/** Serves connections from inside, each with the port that it came from there. Resolves to what ends that. */
async function listen(
  path: string,
  serve: (socket: Socket, from: number) => void,
): Promise<() => Promise<void>> {
  const sockets = new Set<Socket>()
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.once("close", () => sockets.delete(socket))
    socket.on("error", () => socket.destroy())
    socket.once("data", (chunk: Buffer) => {
      socket.pause()
      if (chunk.length > 2) socket.unshift(chunk.subarray(2))
      serve(socket, chunk.length < 2 ? 0 : chunk.readUInt16BE())
      socket.resume()
    })
  })
  server.listen(path)
  await once(server, "listening")
  return async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise<void>((resolve) => server.close(() => resolve()))
  }
}

function joinTo(socket: Socket, address: { host: string; port: number }): void {
  const outgoing = connect({ ...address, allowHalfOpen: true })
  outgoing.on("error", () => socket.destroy())
  joinSockets(socket, outgoing)
}
