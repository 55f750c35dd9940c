import { spawn } from "node:child_process"
import { once } from "node:events"
import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { openDataFolder } from "./data-folder.ts"

let root: string

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "tintype-folder-test-"))
})

afterEach(() => rm(root, { recursive: true, force: true }))

const modeOf = async (path: string) => (await stat(path)).mode & 0o777

/** Opens the folder in a process of its own, which holds it until it is killed. */
async function holder(path: string) {
  const module = new URL("./data-folder.ts", import.meta.url).href
  const script = `
    const { openDataFolder } = await import(${JSON.stringify(module)})
    await openDataFolder(${JSON.stringify(path)})
    process.stdout.write("held")
    setInterval(() => {}, 1_000)`
  const child = spawn(process.execPath, [
    "--conditions=tintype-source",
    "--input-type=module",
    "--eval",
    script,
  ])
  await once(child.stdout, "data")
  return child
}

describe("the lock", () => {
  test("names the process that has the folder [the same one, another one]", async () => {
    const folder = await openDataFolder(root)
    const refused = { code: "data_locked", message: expect.stringContaining(`${process.pid}`) }
    await expect(openDataFolder(root)).rejects.toMatchObject(refused)
    await folder.release()
    const child = await holder(root)
    await expect(openDataFolder(root)).rejects.toMatchObject({
      code: "data_locked",
      message: expect.stringContaining(`process ${child.pid}`),
    })
    child.kill("SIGKILL")
    await once(child, "exit")
  })

  test("of a process that was killed does not matter", async () => {
    const child = await holder(root)
    child.kill("SIGKILL")
    await once(child, "exit")
    const folder = await openDataFolder(root)
    expect(folder.path).toBe(root)
    await folder.release()
  })

  test("whose holder's name is half written still refuses", async () => {
    const folder = await openDataFolder(root)
    await writeFile(join(root, "lock.json"), '{"pid":')
    await expect(openDataFolder(root)).rejects.toMatchObject({
      code: "data_locked",
      message: expect.stringContaining("another process"),
    })
    await folder.release()
  })

  test("that is no lock is not mistaken for one that is held", async () => {
    await writeFile(
      join(root, "lock.sqlite"),
      "this is no database, and long enough to be read".repeat(99),
    )
    await expect(openDataFolder(root)).rejects.toMatchObject({ code: "data_unusable" })
  })

  test("is let go of by a release and by a start that fails", async () => {
    await (await openDataFolder(root)).release()
    await rm(join(root, "secret"))
    await mkdir(join(root, "secret"))
    await expect(openDataFolder(root)).rejects.toMatchObject({ code: "data_unusable" })
    await rm(join(root, "secret"), { recursive: true })
    await (await openDataFolder(root)).release()
  })
})

describe("the folder", () => {
  test("is made, for its owner alone, with all that is in it", async () => {
    const path = join(root, "deep", "data")
    const folder = await openDataFolder(path)
    expect(await modeOf(path)).toBe(0o700)
    for (const name of await readdir(path))
      expect([name, await modeOf(join(path, name))]).toEqual([name, 0o600])
    await folder.release()
  })

  test("is repaired when others could read it", async () => {
    await (await openDataFolder(root)).release()
    await chmod(root, 0o755)
    await chmod(join(root, "secret"), 0o644)
    const folder = await openDataFolder(root)
    expect(await modeOf(root)).toBe(0o700)
    expect(await modeOf(join(root, "secret"))).toBe(0o600)
    expect(await modeOf(join(root, "token-secret"))).toBe(0o600)
    await folder.release()
  })

  test("that is a file cannot be used", async () => {
    const path = join(root, "file")
    await writeFile(path, "")
    await expect(openDataFolder(path)).rejects.toMatchObject({ code: "data_unusable" })
  })

  test("keeps its secret; one that is broken is made anew", async () => {
    const first = await openDataFolder(root)
    await first.release()
    const second = await openDataFolder(root)
    await second.release()
    expect(second.secret).toBe(first.secret)
    expect(second.tokenSecret).toBe(first.tokenSecret)
    expect(first.tokenSecret).not.toBe(first.secret)
    expect(first.secret).toMatch(/^[0-9a-f]{64}$/)
    await writeFile(join(root, "secret"), "short")
    const third = await openDataFolder(root)
    await third.release()
    expect(third.secret).toMatch(/^[0-9a-f]{64}$/)
  })
})

describe("the secrets", () => {
  test.each(["secret", "token-secret"])(
    "are not replaced when they cannot be read [%s]",
    async (name) => {
      // What reads like a file that fails: EISDIR.
      await mkdir(join(root, name))
      await expect(openDataFolder(root)).rejects.toMatchObject({ code: "data_unusable" })
      expect((await stat(join(root, name))).isDirectory()).toBe(true)
    },
  )
})

describe("the socket", () => {
  test("lies in the folder, and one that a crash left is removed", async () => {
    await writeFile(join(root, "link.sock"), "")
    const folder = await openDataFolder(root)
    expect(folder.socketPath).toBe(join(root, "link.sock"))
    const server = createServer().listen(folder.socketPath)
    await once(server, "listening")
    server.close()
    await folder.release()
  })

  test("of a long path lies in a private temporary folder, the same at every start", async () => {
    const path = join(root, "long".repeat(30))
    const first = await openDataFolder(path)
    expect(Buffer.byteLength(first.socketPath)).toBeLessThan(100)
    expect(first.socketPath.startsWith(path)).toBe(false)
    expect(await modeOf(dirname(first.socketPath))).toBe(0o700)
    await first.release()
    await expect(stat(dirname(first.socketPath))).rejects.toThrow("ENOENT")
    const second = await openDataFolder(path)
    expect(second.socketPath).toBe(first.socketPath)
    const server = createServer().listen(second.socketPath)
    await once(server, "listening")
    server.close()
    await second.release()
  })

  test("does not go where somebody else can put one", async () => {
    const path = join(root, "long".repeat(30))
    const first = await openDataFolder(path)
    await first.release()
    await mkdir(dirname(first.socketPath))
    await chmod(dirname(first.socketPath), 0o777)
    const second = await openDataFolder(path)
    expect(second.socketPath).not.toBe(first.socketPath)
    await second.release()
    await rm(dirname(first.socketPath), { recursive: true })
  })
})

test("in memory there is a folder of its own, gone with the release", async () => {
  const one = await openDataFolder(":memory:")
  const other = await openDataFolder(":memory:")
  expect(one.path).not.toBe(other.path)
  expect(one).toMatchObject({ database: ":memory:", inMemory: true })
  await writeFile(join(one.path, "left"), "x")
  for (const folder of [one, other]) {
    await folder.release()
    await expect(stat(folder.path)).rejects.toThrow("ENOENT")
  }
})
