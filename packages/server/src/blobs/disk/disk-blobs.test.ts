import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { describeBlobs } from "../blob.suite.ts"
import { openDiskBlobs } from "./disk-blobs.ts"
import { incomingFolder, pathOf } from "./layout.ts"

let root = ""
let folders = 0

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tintype-blobs-"))
})

afterAll(async () => {
  await rm(root, { recursive: true, force: true })
})

function newFolder(): string {
  folders += 1
  return join(root, `${folders}`)
}

describeBlobs("on disk", () => openDiskBlobs({ folder: newFolder() }))

async function* once(text: string): AsyncIterable<Uint8Array> {
  yield Buffer.from(text)
}

describe("blobs on disk, across lives", () => {
  test("they lie in two levels of folders, readable by their owner alone", async () => {
    const folder = newFolder()
    const blobs = await openDiskBlobs({ folder })
    const { name } = await blobs.write(once("x"))
    const path = join(folder, name.slice(0, 2), name.slice(2, 4), name)
    expect(pathOf(folder, name)).toBe(path)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    for (const each of [folder, incomingFolder(folder), join(path, ".."), join(path, "../..")]) {
      expect([each, (await stat(each)).mode & 0o777]).toEqual([each, 0o700])
    }
    await blobs.close()
  })

  test("an open keeps blobs and sweeps what was half written", async () => {
    const folder = newFolder()
    const first = await openDiskBlobs({ folder })
    const { name } = await first.write(once("kept"))
    await first.close()
    await writeFile(join(incomingFolder(folder), "0".repeat(32)), "half")
    const second = await openDiskBlobs({ folder })
    expect(await readdir(incomingFolder(folder))).toEqual([])
    expect(await second.stat(name)).toEqual({ bytes: 4 })
    await second.close()
  })

  test("a failed write leaves no file, half written or whole", async () => {
    const folder = newFolder()
    const blobs = await openDiskBlobs({ folder })
    await expect(blobs.write(once("{"), { json: true })).rejects.toThrow(/JSON/)
    await expect(blobs.write(once("12345"), { bytesMax: 4 })).rejects.toThrow(/4 bytes/)
    expect(await readdir(folder, { recursive: true })).toEqual(["incoming"])
    await blobs.close()
  })

  test("a folder that cannot be made is an error at once", async () => {
    const file = newFolder()
    await writeFile(file, "")
    await expect(openDiskBlobs({ folder: join(file, "blobs") })).rejects.toThrow(/Cannot open/)
  })
})
