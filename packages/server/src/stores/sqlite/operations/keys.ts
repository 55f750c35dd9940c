import type { DatabaseSync } from "node:sqlite"
import type { EngineContext } from "../engine.ts"
import type { Writers } from "../messages.ts"
import { toKey } from "../rows.ts"

/** Writes of accounts and their keys. */
export function keyWriters(
  db: DatabaseSync,
  { now }: EngineContext,
): Pick<Writers, "createKey" | "revokeKey" | "touchKeys"> {
  const addAccount = db.prepare(
    "INSERT INTO accounts (name, created_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
  )
  const insert = db.prepare(`
    INSERT INTO keys (id, account, scope, name, secret_hash, apps, limits, created_at, version)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1) RETURNING *`)
  const revoke = db.prepare(`
    UPDATE keys SET revoked_at = ?, version = version + 1 WHERE id = ? AND revoked_at IS NULL`)
  const find = db.prepare("SELECT * FROM keys WHERE id = ?")
  const touch = db.prepare(
    "UPDATE keys SET last_used_at = max(coalesce(last_used_at, 0), ?) WHERE id = ?",
  )

  return {
    createKey({ id, account, scope, name, secretHash, apps, limits }) {
      addAccount.run(account, now())
      const [appsText, limitsText] = [JSON.stringify(apps), JSON.stringify(limits)]
      return toKey(insert.get(id, account, scope, name, secretHash, appsText, limitsText, now())!)
    },

    revokeKey(id) {
      revoke.run(now(), id)
      const row = find.get(id)
      return row === undefined ? null : toKey(row)
    },

    touchKeys(uses) {
      for (const { id, at } of uses) touch.run(at, id)
    },
  }
}
