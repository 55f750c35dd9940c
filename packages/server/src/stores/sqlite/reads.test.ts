import { DatabaseSync } from "node:sqlite"
import { expect, test } from "vitest"
import { requestStates } from "@tintype/protocol"
import { migrate } from "./migrations.ts"
import { openOfDoor } from "./operations/requests.ts"
import { attemptList, requestList } from "./reads.ts"

function planOf(sql: string): string[] {
  const db = new DatabaseSync(":memory:")
  migrate(db)
  const rows = db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all()
  db.close()
  return rows.map((row) => String(row["detail"]))
}

const endpoint = "acme/painter/big"
const app = "acme/painter"

test.each([
  {},
  { endpoint },
  { app },
  { endpoint, app },
  ...requestStates.flatMap((state) => [{ state }, { state, endpoint }, { state, app }]),
])("a page of requests walks an index from its cursor on, and sorts nothing (%o)", (filters) => {
  const { floor, rows } = requestList({ account: "local", ...filters })
  for (const sql of [rows, ...(floor === null ? [] : [floor])]) {
    const [step, ...others] = planOf(sql)
    expect(step).toMatch(/^SEARCH requests USING (COVERING )?INDEX \w+ \(account=\? AND .*rowid/)
    expect(others).toEqual([])
  }
})

test("the attempts of a request are found by their keys", () => {
  const steps = planOf(attemptList)
  expect(steps.filter((step) => step.startsWith("SEARCH"))).toHaveLength(5)
  // What was found by then, a hundred rows at most.
  expect(steps.filter((step) => step.startsWith("SCAN"))).toEqual(["SCAN made"])
})

test("what a restart ends is found at the heads of the queues", () => {
  const steps = planOf(openOfDoor).filter((step) => step.includes("requests"))
  expect(steps).toEqual([
    "SEARCH requests USING COVERING INDEX requests_queue (app=? AND turn=?)",
    "SCAN requests USING INDEX requests_running",
  ])
})
