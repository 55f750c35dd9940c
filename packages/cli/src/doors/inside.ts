import { execFile } from "node:child_process"
import { once } from "node:events"
import { connect, createServer, type Socket } from "node:net"
import { promisify } from "node:util"
import { reasonOf } from "../terminal.ts"
import { joinSockets } from "./join-sockets.ts"
import { type Program, runProgram } from "./program.ts"

/**
 * The first process in a network of its own (`isolation.ts`), where it may do anything: it brings up the loopback, says what
 * host names mean, bridges ports to the sockets outside, and runs the program with nothing of what it may do itself.
 */

/** A port on the loopback inside, and the Unix socket outside that it leads to. */
export interface Bridge {
  port: number
  socketPath: string
}

export interface InsideOrder {
  program: Program
  bridges: Bridge[]
  /** Takes the place of /etc/hosts. */
  hostsPath: string
  /** Whom the program runs as: the one who started it. */
  uid: number
  gid: number
}

/** Said when it is not to be; nothing was started then. */
export interface InsideFailure {
  failed: string
}

const run = promisify(execFile)
const { promise: ordered, resolve: order } = Promise.withResolvers<InsideOrder>()
process.once("message", (message) => order(message as InsideOrder))
process.exitCode = await start(await ordered)
process.exit()

async function start({ program, bridges, hostsPath, uid, gid }: InsideOrder): Promise<number> {
  try {
    await bringUpLoopback()
    await run("mount", ["--bind", hostsPath, "/etc/hosts"])
    for (const bridge of bridges) await listen(bridge)
  } catch (error) {
    return await fail(reasonOf(error))
  }
  const identity = ["--user", `--map-user=${uid}`, `--map-group=${gid}`]
  const args = [...identity, "--", program.command, ...program.args]
  return await runProgram({ ...program, command: "unshare", args }, console.error)
}

async function fail(failed: string): Promise<number> {
  const { promise: sent, resolve } = Promise.withResolvers<void>()
  process.send?.({ failed } satisfies InsideFailure, () => resolve())
  await sent
  return 1
}

/** There is no way to it from Node, so by what is installed: iproute2, net-tools, or Perl, which Debian always has. */
async function bringUpLoopback(): Promise<void> {
  // SIOCSIFFLAGS with IFF_UP | IFF_RUNNING, in a struct ifreq of 40 bytes.
  const perl =
    'use Socket; my $request = pack("a16sx22", "lo", 0x41); ' +
    "socket(S, AF_INET, SOCK_DGRAM, 0) or die $!; ioctl(S, 0x8914, $request) or die $!"
  const ways: [string, ...string[]][] = [
    ["ip", "link", "set", "lo", "up"],
    ["ifconfig", "lo", "up"],
    ["perl", "-e", perl],
  ]
  const reasons: string[] = []
  for (const [command, ...args] of ways) {
    try {
      await run(command, args)
      return
    } catch (error) {
      reasons.push(`${command}: ${reasonOf(error).trim().split("\n").at(-1)}`)
    }
  }
  throw new Error(`the loopback cannot be brought up (${reasons.join("; ")})`)
}

async function listen({ port, socketPath }: Bridge): Promise<void> {
  const server = createServer({ allowHalfOpen: true }, (socket) => join(socket, socketPath))
  server.listen(port, "127.0.0.1")
  await once(server, "listening")
}

/** Begins with the port that the program connects from, in two bytes: outside nobody could find out whose it is. */
function join(socket: Socket, socketPath: string): void {
  const outside = connect({ path: socketPath, allowHalfOpen: true })
  for (const one of [socket, outside]) one.on("error", () => one.destroy())
  const from = Buffer.alloc(2)
  from.writeUInt16BE(socket.remotePort ?? 0)
  outside.write(from)
  joinSockets(socket, outside)
}
