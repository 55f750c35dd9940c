import type { DatabaseSync } from "node:sqlite"
import { withKnownUsers } from "../../../domain/object-lifecycle.ts"
import type { Writers } from "../messages.ts"

/** Writes of files' metadata; their bytes are blobs. */
export function fileWriters(db: DatabaseSync): Pick<Writers, "addFile"> {
  const insert = db.prepare(`
    INSERT INTO files (name, account, blob, bytes, content_type, request, created_at, expires_at, acl)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`)
  const findAccount = db.prepare("SELECT 1 FROM accounts WHERE name = ?")

  return {
    addFile({ name, account, blob, bytes, contentType, request, createdAt, expiresAt, acl }) {
      const known = withKnownUsers(acl, (user) => findAccount.get(user) !== undefined)
      const aclText = known === null ? null : JSON.stringify(known)
      const values = [bytes, contentType, request, createdAt, expiresAt, aclText]
      insert.run(name, account, blob, ...values)
    },
  }
}
