import type { DatabaseSync } from "node:sqlite"
import type { Writers } from "../messages.ts"

/** Writes of apps. */
export function appWriters(db: DatabaseSync): Pick<Writers, "putApp"> {
  // The same content again changes no row, so it costs no flush and keeps its revision.
  const write = db.prepare(`
    INSERT INTO apps (id, content, revision) VALUES (?, ?, 1)
    ON CONFLICT DO UPDATE SET content = excluded.content, revision = revision + 1
    WHERE content <> excluded.content`)

  return {
    putApp({ id, revision: _revision, ...content }) {
      write.run(id, JSON.stringify(content))
    },
  }
}
