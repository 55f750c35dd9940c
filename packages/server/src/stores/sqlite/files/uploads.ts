import type { DatabaseSync } from "node:sqlite"
import type { BlobRef } from "../../../blob.ts"
import { expiryOf } from "../../../domain/files/object-lifecycle.ts"
import { assembleParts, type UploadPart } from "../../../domain/files/upload.ts"
import { type FileRow, StoreError, type UploadRow } from "../../../store.ts"
import type { EngineContext } from "../engine.ts"
import type { Writers } from "../messages.ts"
import { toUpload } from "../rows.ts"

/** Writes of what is being uploaded. */
export function uploadWriters(
  db: DatabaseSync,
  { files, now }: Pick<EngineContext, "files" | "now">,
): Pick<Writers, "openUpload" | "addPart" | "finishUpload"> {
  const table = new UploadTable(db)

  function finish(upload: UploadRow, blobs: BlobRef[]): FileRow {
    // Before the file: its bytes are those of the parts, and count once.
    table.remove(upload.file)
    const { file: name, account, contentType, lifecycle } = upload
    const createdAt = now()
    return files.add({
      name,
      account,
      blobs,
      bytes: sum(blobs),
      contentType,
      request: null,
      createdAt,
      expiresAt: expiryOf(lifecycle, createdAt),
      acl: lifecycle.acl,
    })
  }

  return {
    openUpload(upload, uploadsMax) {
      if (table.count(upload.account, uploadsMax) >= uploadsMax) {
        throw new StoreError("limited", `The account has ${uploadsMax} unfinished uploads`)
      }
      table.insert(upload)
    },

    addPart({ file, part, storageBytesMax }) {
      const upload = table.find(file)
      if (upload === null) return { result: "unknown" }
      const others = table.parts(file).filter(({ number }) => number !== part.number)
      if (sum(others) + part.bytes > upload.bytesMax) return { result: "too_large" }
      const replaced = table.removePart(file, part.number)
      table.checkQuota(upload.account, part.bytes, storageBytesMax)
      table.insertPart(upload, part)
      return { result: "added", replaced }
    },

    finishUpload({ file, content, storageBytesMax }) {
      const upload = table.find(file)
      if (upload === null) return { result: "unknown" }
      if ("blob" in content) {
        table.checkQuota(upload.account, content.blob.bytes, storageBytesMax)
        return { result: "added", file: finish(upload, [content.blob]) }
      }
      const assembled = assembleParts(table.parts(file), content.parts)
      if ("objection" in assembled) return { result: "refused", objection: assembled.objection }
      return { result: "added", file: finish(upload, assembled.blobs) }
    },
  }
}

class UploadTable {
  readonly #statements

  constructor(db: DatabaseSync) {
    this.#statements = {
      count: db.prepare(
        "SELECT count(*) AS count FROM (SELECT 1 FROM uploads WHERE account = ? LIMIT ?)",
      ),
      insert: db.prepare(`
        INSERT INTO uploads (
          file, account, content_type, multipart, bytes_max, lifecycle, created_at, expires_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)`),
      find: db.prepare("SELECT * FROM uploads WHERE file = ?"),
      // Its parts go by their foreign key.
      remove: db.prepare("DELETE FROM uploads WHERE file = ?"),
      parts: db.prepare("SELECT * FROM upload_parts WHERE file = ? ORDER BY number"),
      insertPart: db.prepare(`
        INSERT INTO upload_parts (file, number, account, blob, bytes, etag)
        VALUES (?, ?, ?, ?, ?, ?)`),
      removePart: db.prepare(
        "DELETE FROM upload_parts WHERE file = ? AND number = ? RETURNING blob",
      ),
      stored: db.prepare("SELECT bytes FROM storage WHERE account = ?"),
    }
  }

  /** Of the account's unfinished ones; looks at so many. */
  count(account: string, most: number): number {
    return Number(this.#statements.count.get(account, most)?.["count"])
  }

  insert(upload: UploadRow): void {
    const { file, account, contentType, bytesMax, createdAt, expiresAt } = upload
    const rest = [bytesMax, JSON.stringify(upload.lifecycle), createdAt, expiresAt]
    this.#statements.insert.run(file, account, contentType, Number(upload.multipart), ...rest)
  }

  find(file: string): UploadRow | null {
    const row = this.#statements.find.get(file)
    return row === undefined ? null : toUpload(row)
  }

  remove(file: string): void {
    this.#statements.remove.run(file)
  }

  parts(file: string): UploadPart[] {
    return this.#statements.parts.all(file).map((row) => ({
      number: Number(row["number"]),
      blob: String(row["blob"]),
      bytes: Number(row["bytes"]),
      etag: String(row["etag"]),
    }))
  }

  insertPart({ file, account }: UploadRow, { number, blob, bytes, etag }: UploadPart): void {
    this.#statements.insertPart.run(file, number, account, blob, bytes, etag)
  }

  /** Answers its blob; null when there was none of that number. */
  removePart(file: string, number: number): string | null {
    const row = this.#statements.removePart.get(file, number)
    return typeof row?.["blob"] === "string" ? row["blob"] : null
  }

  checkQuota(account: string, bytes: number, storageBytesMax: number): void {
    const stored = Number(this.#statements.stored.get(account)?.["bytes"] ?? 0)
    if (storageBytesMax === 0 || stored + bytes <= storageBytesMax) return
    throw new StoreError("over_quota", `The account stores ${stored} bytes of ${storageBytesMax}`)
  }
}

function sum(sized: readonly { bytes: number }[]): number {
  return sized.reduce((total, { bytes }) => total + bytes, 0)
}
