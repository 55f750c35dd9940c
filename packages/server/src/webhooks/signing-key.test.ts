import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, it } from "vitest"
import { openSigningKey, publicHalf } from "./signing-key.ts"

let folder = ""

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tintype-key-"))
})

afterEach(async () => {
  await rm(folder, { recursive: true })
})

it("a key is made once, for its owner's eyes, and stays the same", async () => {
  const key = await openSigningKey(folder)
  expect(await openSigningKey(folder)).toEqual(key)
  expect((await stat(join(folder, "webhook-key.json"))).mode & 0o777).toBe(0o600)
  expect(await readdir(folder)).toEqual(["webhook-key.json"])
  expect(publicHalf(key)).not.toHaveProperty("d")
  expect(publicHalf(key)).toMatchObject({ kty: "OKP", crv: "Ed25519", x: key.x })
})

it.each(["", "{}", "not json", '{"kty":"OKP","crv":"Ed25519","x":"short","d":"short"}'])(
  "a file that is no key is an error that says what to do, and is left as it is (%s)",
  async (text) => {
    await writeFile(join(folder, "webhook-key.json"), text)
    await expect(openSigningKey(folder)).rejects.toMatchObject({
      name: "StartError",
      message: expect.stringContaining("webhook-key.json is not the key"),
    })
  },
)
