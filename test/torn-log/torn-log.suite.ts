import { cp, mkdtemp, open, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { audit } from "../crash/audit.ts"
import { Connections } from "../crash/connections.ts"
import type { Acknowledged } from "../crash/load.ts"
import { killProcessesOf } from "../crash/processes.ts"
import { chooseSeed, seededRandom } from "../crash/randomness.ts"
import { recordResult } from "../reliability/results.ts"
import { startServerProcess } from "../server-process.ts"

/** https://sqlite.org/fileformat2.html#the_write_ahead_log */
const logHeaderBytes = 32
const frameHeaderBytes = 24
const pageBytes = 4_096
const frameBytes = frameHeaderBytes + pageBytes

/** A submit that was answered when the log had this size: what it promises lies below. */
interface Promised extends Acknowledged {
  logBytes: number
}

/** What is done to the log from the start of a frame on. */
type Tear = (log: string, at: number) => Promise<void>

const cutAfter = (bytes: number): Tear => {
  return async (log, at) => await overwrite(log, async (file) => file.truncate(at + bytes))
}

const flipByte = (offset: number): Tear => {
  return async (log, at) =>
    await overwrite(log, async (file) => {
      const byte = Buffer.alloc(1)
      await file.read(byte, 0, 1, at + offset)
      await file.write(Buffer.from([byte[0]! ^ 0x55]), 0, 1, at + offset)
    })
}

const zeroFrom = (offset: number): Tear => {
  return async (log, at) =>
    await overwrite(log, async (file) => {
      const { size } = await file.stat()
      await file.write(Buffer.alloc(size - at - offset), 0, size - at - offset, at + offset)
    })
}

const tears: Record<string, Tear> = {
  "cut before a frame": cutAfter(0),
  "cut in a frame's header": cutAfter(7),
  "cut behind a frame's header": cutAfter(frameHeaderBytes),
  "cut in a page": cutAfter(frameHeaderBytes + 1_500),
  "cut before a page's last byte": cutAfter(frameBytes - 1),
  "another page number": flipByte(3),
  "another size at the commit": flipByte(6),
  "another salt": flipByte(9),
  "another checksum": flipByte(20),
  "another byte in a page": flipByte(frameHeaderBytes + 3_000),
  "zeros from a frame on": zeroFrom(0),
  "zeros from a page's second sector on": zeroFrom(frameHeaderBytes + 512),
}

async function overwrite(
  log: string,
  change: (file: Awaited<ReturnType<typeof open>>) => Promise<unknown>,
): Promise<void> {
  await using file = await open(log, "r+")
  await change(file)
}

export interface TornLogSize {
  framesOfEach: number
  /** Some of the ways, of a seed. */
  kindsMax: number
}

/** The log of a killed server, torn in every way at some frames; each time a server starts on it. */
export function tornLogSuite({ framesOfEach, kindsMax }: TornLogSize): void {
  describe("the log of a killed server, torn at its end or in the middle", () => {
    let folder: string
    let left: string
    let logBytes: number
    const promised: Promised[] = []
    const random = seededRandom(chooseSeed("torn log"))
    const kinds = Object.keys(tears)
      .map((name) => ({ name, place: random() }))
      .toSorted((a, b) => a.place - b.place)
      .slice(0, kindsMax)
      .map(({ name }) => name)
    let tornCount = 0
    let lost = 0

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "torn-"))
      // The runner dies with the server; nobody needs to wait for it to come back.
      const config = "export default { timing: { resumeMs: 500 } }\n"
      await writeFile(join(folder, "tintype.config.ts"), config)
      left = join(folder, "left")
      await liveAndDie(folder, left, promised)
      logBytes = (await stat(logOf(left))).size
    }, 60_000)

    afterAll(async () => {
      await killProcessesOf(folder)
      await rm(folder, { recursive: true, force: true, maxRetries: 5 })
    })

    it.each(kinds)(
      "%s: everything that was acknowledged before it is there, and whatever else is there is whole",
      async (name) => {
        const frames = Math.floor((logBytes - logHeaderBytes) / frameBytes)
        expect(frames).toBeGreaterThan(50)
        const first = Math.ceil((promised[0]!.logBytes - logHeaderBytes) / frameBytes)
        for (let round = 0; round < framesOfEach; round += 1) {
          const frame = first + Math.floor(random() * (frames - first))
          // One of each kind is the last frame, which is what a crash tears.
          const last = framesOfEach > 1 && round === 0
          lost += await tearAndAudit(
            name,
            logHeaderBytes + (last ? frames - 1 : frame) * frameBytes,
          )
        }
        tornCount += framesOfEach
        recordResult("torn-log", { torn: tornCount, kinds: kinds.length, lost, frames })
      },
      60_000 + framesOfEach * 10_000,
    )

    it("tore what was acknowledged later, too: the tears reach the log", () => {
      expect(lost).toBeGreaterThan(0)
    })

    /** Returns how many of the later ones are gone. */
    async function tearAndAudit(name: string, at: number): Promise<number> {
      const data = join(folder, "torn")
      await cp(left, data, { recursive: true, filter: (path) => !path.endsWith(".sock") })
      await tears[name]!(logOf(data), at)
      const server = await startServerProcess({ data, cwd: folder })
      const kept = promised.filter((one) => one.logBytes <= at)
      const known = idsIn(data)
      const later = promised.filter((one) => one.logBytes > at)
      const whole = later.filter(({ id }) => known.has(id))
      const broken = await audit(server.url, [...kept, ...whole], { deadlineMs: 20_000 })
      expect(broken).toEqual([])
      expect(await server.kill("SIGTERM")).toBe(0)
      expect(integrityOf(data)).toBe("ok")
      await killProcessesOf(data)
      await rm(data, { recursive: true, force: true, maxRetries: 5 })
      return later.length - whole.length
    }
  })
}

/** One submit after the other, each with the size of the log once it was answered; then some that nobody waits for. */
async function liveAndDie(folder: string, left: string, promised: Promised[]): Promise<void> {
  const server = await startServerProcess({ data: left, cwd: folder })
  const connections = new Connections(4)
  const submit = async (index: number) => {
    const padding = "p".repeat(index % 10 === 0 ? 50_000 : (index * 397) % 6_000)
    const body = Buffer.from(`{"index": ${index}, "padding": "${padding}"}`)
    const reply = await connections.call("POST", `${server.url}/queue/tintype/echo`, body)
    const { request_id: id } = JSON.parse(reply.body.toString()) as { request_id: string }
    const { size } = await stat(logOf(left))
    promised.push({ id, endpoint: "tintype/echo", body, at: Date.now(), logBytes: size })
  }
  for (let index = 1; index <= 40; index += 1) await submit(index)
  for (let index = 41; index <= 50; index += 1) submit(index).catch(() => {})
  await server.kill("SIGKILL")
  connections.close()
  await killProcessesOf(left)
}

function logOf(data: string): string {
  return join(data, "tintype.sqlite-wal")
}

function idsIn(data: string): Set<string> {
  const db = new DatabaseSync(join(data, "tintype.sqlite"), { readOnly: true, timeout: 5_000 })
  try {
    const rows = db.prepare("SELECT id FROM requests").all()
    return new Set(rows.map((row) => String(row["id"])))
  } finally {
    db.close()
  }
}

function integrityOf(data: string): string {
  const db = new DatabaseSync(join(data, "tintype.sqlite"), { readOnly: true })
  try {
    return String(db.prepare("PRAGMA integrity_check").get()?.["integrity_check"])
  } finally {
    db.close()
  }
}
