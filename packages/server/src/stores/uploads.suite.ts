import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { defaultConfig } from "../config.ts"
import type { Acl } from "../domain/files/object-lifecycle.ts"
import type { Store, UploadRow } from "../store.ts"
import { newKey } from "./limits.suite.ts"
import type { OpenStore } from "./store.suite.ts"

/** The laws of `store.ts` about uploads, files' access and what an account stores, for every adapter. */
export function describeUploads(name: string, open: OpenStore): void {
  describe(`store, uploads: ${name}`, () => {
    let now = 1_000_000
    let store: Store

    beforeEach(async () => {
      now = 1_000_000
      store = (await open({ clock: () => now })).store
      await store.recover()
    })

    afterEach(async () => {
      await store.close()
    })

    async function openUpload(fields: Partial<UploadRow> = {}): Promise<string> {
      const upload: UploadRow = {
        file: "b/1/x_cat.png",
        account: "ann",
        contentType: "image/png",
        multipart: true,
        bytesMax: 1_000,
        lifecycle: { expirationMs: null, acl: null },
        createdAt: now,
        expiresAt: now + 10_000,
        ...fields,
      }
      await store.openUpload(upload, 100)
      expect(await store.upload(upload.file)).toEqual(upload)
      return upload.file
    }

    async function addPart(file: string, number: number, bytes = 100, storageBytesMax = 0) {
      const part = { number, blob: `${file} ${number}`, bytes, etag: `"e${number}"` }
      return await store.addPart({ file, part, storageBytesMax })
    }

    async function finish(file: string, numbers: number[]) {
      const parts = numbers.map((number) => ({ number, etag: `e${number}` }))
      return await store.finishUpload({ file, content: { parts }, storageBytesMax: 0 })
    }

    async function finishWhole(file: string, bytes: number, storageBytesMax = 0) {
      const content = { blob: { name: `blob of ${file}`, bytes } }
      return await store.finishUpload({ file, content, storageBytesMax })
    }

    async function stored(account = "ann"): Promise<number> {
      return (await store.storage(account)).bytes
    }

    async function prune() {
      return await store.prune({
        policy: defaultConfig.retention,
        rowsMax: 100,
        budgetMs: 1_000,
      })
    }

    describe("a file that comes as a whole", () => {
      test("is there from its end on, as it was announced, and its upload is not", async () => {
        await store.createKey(newKey({ account: "bob" }))
        const rules = [
          { user: "bob", decision: "allow" as const },
          { user: "nobody", decision: "allow" as const },
        ]
        const acl: Acl = { default: "hide", rules }
        const file = await openUpload({ lifecycle: { expirationMs: 500, acl }, multipart: false })
        expect(await store.file(file)).toBeNull()
        now += 50
        const row = {
          name: file,
          account: "ann",
          blobs: [{ name: `blob of ${file}`, bytes: 70 }],
          bytes: 70,
          contentType: "image/png",
          request: null,
          createdAt: now,
          expiresAt: now + 500,
          acl: { default: "hide", rules: [rules[0]] },
        }
        expect(await finishWhole(file, 70)).toEqual({ result: "added", file: row })
        expect(await store.file(file)).toEqual(row)
        expect(await store.upload(file)).toBeNull()
        expect(await stored()).toBe(70)
      })

      test("is added once of many ends at a time", async () => {
        const file = await openUpload({ multipart: false })
        const ends = await Promise.all(
          Array.from({ length: 10 }, (_, index) =>
            store.finishUpload({
              file,
              content: { blob: { name: `try ${index}`, bytes: 1 } },
              storageBytesMax: 0,
            }),
          ),
        )
        expect(ends.map(({ result }) => result)).toEqual(["added", ...Array(9).fill("unknown")])
        expect((await store.file(file))?.blobs).toEqual([{ name: "try 0", bytes: 1 }])
        expect(await finishWhole(file, 1)).toEqual({ result: "unknown" })
      })

      test("may be announced and ended in one commit", async () => {
        const upload = {
          file: "b/2/y",
          account: "ann",
          contentType: "image/png",
          multipart: false,
          bytesMax: 10,
          lifecycle: { expirationMs: null, acl: null },
          createdAt: now,
          expiresAt: now + 1,
        }
        const [, ended] = await Promise.all([
          store.openUpload(upload, 1),
          finishWhole(upload.file, 1),
        ])
        expect(ended.result).toBe("added")
      })
    })

    describe("a file that comes in parts", () => {
      test("consists of them in order, whatever order they came in", async () => {
        const file = await openUpload()
        for (const number of [3, 1, 2]) {
          expect(await addPart(file, number, number)).toEqual({ result: "added", replaced: null })
        }
        expect(await stored()).toBe(6)
        expect(await finish(file, [2, 3, 1])).toMatchObject({ result: "added" })
        expect(await store.file(file)).toMatchObject({
          bytes: 6,
          blobs: [1, 2, 3].map((number) => ({ name: `${file} ${number}`, bytes: number })),
        })
        expect(await stored()).toBe(6)
        expect(await finish(file, [1, 2, 3])).toEqual({ result: "unknown" })
        expect(await addPart(file, 4)).toEqual({ result: "unknown" })
      })

      test("keeps the last of a part that came twice, and tells the blob of the other", async () => {
        const file = await openUpload()
        await addPart(file, 1, 30)
        const again = { number: 1, blob: "again", bytes: 50, etag: '"e1"' }
        expect(await store.addPart({ file, part: again, storageBytesMax: 0 })).toEqual({
          result: "added",
          replaced: `${file} 1`,
        })
        expect(await stored()).toBe(50)
        expect(await store.unreferencedBlobs([`${file} 1`, "again"])).toEqual([`${file} 1`])
        await finish(file, [1])
        expect((await store.file(file))?.blobs).toEqual([{ name: "again", bytes: 50 }])
      })

      test("is not there while its list is refused, which leaves everything as it is", async () => {
        const file = await openUpload()
        await addPart(file, 1)
        expect(await finish(file, [1, 2])).toEqual({
          result: "refused",
          objection: "Parts that did not come: 2",
        })
        expect(await store.file(file)).toBeNull()
        await addPart(file, 2)
        expect(await finish(file, [1, 2])).toMatchObject({ result: "added" })
      })

      test("is never larger than was announced, a part that is replaced not counted", async () => {
        const file = await openUpload({ bytesMax: 150 })
        await addPart(file, 1, 100)
        expect(await addPart(file, 2, 51)).toEqual({ result: "too_large" })
        expect(await addPart(file, 1, 150)).toMatchObject({ result: "added" })
        expect(await addPart(file, 2, 1)).toEqual({ result: "too_large" })
        expect(await stored()).toBe(150)
      })

      test("of an upload that there is none of is unknown", async () => {
        expect(await addPart("b/0/none", 1)).toEqual({ result: "unknown" })
        expect(await finish("b/0/none", [1])).toEqual({ result: "unknown" })
        expect(await store.upload("b/0/none")).toBeNull()
      })
    })

    describe("what an account stores", () => {
      test("is the sum of its files and parts, through every way in and out", async () => {
        const [whole, parts] = [
          await openUpload({ file: "whole", lifecycle: { expirationMs: 100, acl: null } }),
          await openUpload({ file: "parts" }),
        ]
        await openUpload({ file: "theirs", account: "bob" })
        await finishWhole(whole, 40)
        await addPart(parts, 1, 30)
        await addPart(parts, 2, 3)
        await addPart("theirs", 1, 900)
        const output = { name: "out", account: "ann", blobs: [{ name: "o", bytes: 7 }], bytes: 7 }
        const life = { request: "r", createdAt: now, expiresAt: now + 200, acl: null }
        await store.addFile({ ...output, contentType: "image/png", ...life })
        expect([await stored(), await stored("bob"), await stored("eve")]).toEqual([80, 900, 0])
        now += 100
        expect(await prune()).toMatchObject({ files: 1, blobs: [`blob of ${whole}`] })
        expect(await stored()).toBe(40)
        now += 20_000
        const { files, uploads, blobs } = await prune()
        expect([files, uploads]).toEqual([1, 2])
        expect(blobs.toSorted()).toEqual(["o", "parts 1", "parts 2", "theirs 1"])
        expect([await stored(), await stored("bob")]).toEqual([0, 0])
      })

      test("never goes above the limit of an upload, however many come at once", async () => {
        const files = Array.from({ length: 10 }, (_, index) => `f${index}`)
        for (const file of files) await openUpload({ file, multipart: false })
        const ended = await Promise.allSettled(files.map((file) => finishWhole(file, 30, 100)))
        expect(ended.filter(({ status }) => status === "fulfilled").length).toBe(3)
        expect(ended.at(-1)).toMatchObject({ reason: { code: "over_quota" } })
        expect(await stored()).toBe(90)
        const parts = await openUpload({ file: "parts" })
        await expect(addPart(parts, 1, 11, 100)).rejects.toMatchObject({ code: "over_quota" })
        expect(await addPart(parts, 1, 10, 100)).toMatchObject({ result: "added" })
        await expect(addPart(parts, 1, 11, 100)).rejects.toMatchObject({ code: "over_quota" })
        expect(await stored()).toBe(100)
        expect(await addPart(parts, 1, 5, 100)).toMatchObject({ result: "added" })
        expect(await stored()).toBe(95)
      })

      test("has settings, without rules for accounts there are not, and none at first", async () => {
        const none = { expirationMs: null, acl: null }
        expect(await store.storage("ann")).toEqual({ bytes: 0, settings: none })
        const acl: Acl = { default: "forbid", rules: [{ user: "nobody", decision: "allow" }] }
        const kept = { expirationMs: 5_000, acl: { default: "forbid", rules: [] } }
        expect(await store.setStorage("ann", { expirationMs: 5_000, acl })).toEqual(kept)
        await finishWhole(await openUpload(), 9)
        expect(await store.storage("ann")).toEqual({ bytes: 9, settings: kept })
        await store.setStorage("ann", none)
        expect(await store.storage("ann")).toEqual({ bytes: 9, settings: none })
      })

      test("may be so many unfinished uploads", async () => {
        const row = { ...(await store.upload(await openUpload()))!, file: "second" }
        await expect(store.openUpload(row, 1)).rejects.toMatchObject({ code: "limited" })
        await store.openUpload({ ...row, account: "bob" }, 1)
        await finishWhole("b/1/x_cat.png", 1)
        await store.openUpload({ ...row, file: "third" }, 1)
      })
    })

    describe("an upload that nobody finishes", () => {
      test("is given up at its time with its parts, and one that is finished is not", async () => {
        const [done, late] = [
          await openUpload({ file: "done" }),
          await openUpload({ file: "late", expiresAt: now + 10 }),
        ]
        await addPart(done, 1)
        await addPart(late, 1)
        await finish(done, [1])
        now += 9
        expect(await prune()).toMatchObject({ uploads: 0, blobs: [] })
        now += 1
        expect(await prune()).toMatchObject({ uploads: 1, blobs: ["late 1"] })
        expect(await store.upload(late)).toBeNull()
        expect(await finish(late, [1])).toEqual({ result: "unknown" })
        now += 1_000_000
        expect(await prune()).toMatchObject({ uploads: 0, files: 0 })
        expect(await store.file(done)).not.toBeNull()
      })

      test("keeps its parts from the sweep until then", async () => {
        const file = await openUpload()
        await addPart(file, 1)
        expect(await store.unreferencedBlobs([`${file} 1`, "stray"])).toEqual(["stray"])
        await finish(file, [1])
        expect(await store.unreferencedBlobs([`${file} 1`])).toEqual([])
      })
    })

    test("a file's ACL is replaced, without rules for accounts there are not", async () => {
      const file = await openUpload()
      await finishWhole(file, 1)
      await store.createKey(newKey({ account: "bob" }))
      const rules = ["bob", "nobody"].map((user) => ({ user, decision: "allow" as const }))
      const kept = { default: "hide", rules: rules.slice(0, 1) }
      expect(await store.setFileAcl(file, { default: "hide", rules })).toEqual(kept)
      expect((await store.file(file))?.acl).toEqual(kept)
      expect(await store.setFileAcl("b/0/none", { default: "hide", rules })).toBeNull()
    })
  })
}
