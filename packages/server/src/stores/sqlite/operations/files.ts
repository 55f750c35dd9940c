import type { DatabaseSync } from "node:sqlite"
import type { Writers } from "../messages.ts"

/** Writes of files' metadata; their bytes are blobs. */
export function fileWriters(db: DatabaseSync): Pick<Writers, "addFile"> {
  const insert = db.prepare(`
    INSERT INTO files (name, account, blob, bytes, content_type, request, created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?)`)

  return {
    addFile({ name, account, blob, bytes, contentType, request, createdAt }) {
      insert.run(name, account, blob, bytes, contentType, request, createdAt)
    },
  }
}
