import type { DatabaseSync } from "node:sqlite"
import { type Acl, withKnownUsers } from "../../../domain/files/object-lifecycle.ts"
import type { FileRow } from "../../../store.ts"
import type { EngineContext } from "../engine.ts"
import type { Writers } from "../messages.ts"

/** The rows of files; their bytes are blobs. */
export class FileTable {
  readonly #statements

  constructor(db: DatabaseSync) {
    this.#statements = {
      insert: db.prepare(`
        INSERT INTO files (name, account, bytes, content_type, request, created_at, expires_at, acl)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)`),
      insertBlob: db.prepare(
        "INSERT INTO file_blobs (file, number, blob, bytes) VALUES (?, ?, ?, ?)",
      ),
      setAcl: db.prepare("UPDATE files SET acl = ? WHERE name = ?"),
      findAccount: db.prepare("SELECT 1 FROM accounts WHERE name = ?"),
    }
  }

  /** Answers the row as it is kept. */
  add(file: FileRow): FileRow {
    const { name, account, blobs, bytes, contentType, request, createdAt, expiresAt } = file
    const acl = this.known(file.acl)
    const { insert, insertBlob } = this.#statements
    const values = [bytes, contentType, request, createdAt, expiresAt, toText(acl)]
    insert.run(name, account, ...values)
    for (const [index, blob] of blobs.entries()) {
      insertBlob.run(name, index + 1, blob.name, blob.bytes)
    }
    return { ...file, acl }
  }

  /** False when there is no such file. */
  setAcl(name: string, acl: Acl): boolean {
    return Number(this.#statements.setAcl.run(toText(acl), name).changes) > 0
  }

  /** Without the rules for accounts there are not. */
  known<Given extends Acl | null>(acl: Given): Given {
    const find = (user: string) => this.#statements.findAccount.get(user) !== undefined
    return withKnownUsers(acl, find) as Given
  }
}

/** Writes of files' metadata, and of what holds for an account's new ones. */
export function fileWriters(
  db: DatabaseSync,
  { files }: Pick<EngineContext, "files">,
): Pick<Writers, "addFile" | "setFileAcl" | "setStorage"> {
  const setStorage = db.prepare(`
    INSERT INTO storage (account, settings) VALUES (?, ?)
    ON CONFLICT (account) DO UPDATE SET settings = excluded.settings`)

  return {
    addFile(file) {
      files.add(file)
    },

    setFileAcl(name, acl) {
      const known = files.known(acl)
      return files.setAcl(name, known) ? known : null
    },

    setStorage(account, { expirationMs, acl }) {
      const settings = { expirationMs, acl: files.known(acl) }
      setStorage.run(account, JSON.stringify(settings))
      return settings
    },
  }
}

function toText(acl: Acl | null): string | null {
  return acl === null ? null : JSON.stringify(acl)
}
