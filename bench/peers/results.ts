import { Client, Pool } from "pg"

/**
 * Where the queues on PostgreSQL leave their results: graphile-worker forgets a job that is done, and neither tells
 * another process of it. So the worker writes a row and says so by NOTIFY, in one statement and one commit.
 */

const channel = "job_done"
const connectionsMax = 20

interface Done {
  id: string
  output: unknown
}

/** The worker's side. */
export class ResultWriter {
  readonly #pool: Pool

  constructor(connectionString: string) {
    this.#pool = new Pool({ connectionString, max: connectionsMax })
  }

  async write(done: Done[]): Promise<void> {
    await this.#pool.query({
      name: "write",
      text: `
        WITH done AS (SELECT * FROM json_to_recordset($1) AS done (id text, output json)),
        written AS (INSERT INTO results SELECT * FROM done)
        SELECT pg_notify('${channel}', row_to_json(done)::text) FROM done`,
      values: [JSON.stringify(done)],
    })
  }
}

/** The door's side. Owns those who wait; what it is told of by LISTEN carries the result along. */
export class ResultReader {
  readonly #pool: Pool
  readonly #listener: Client
  readonly #isStored: string
  readonly #waiting = new Map<string, (output: unknown) => void>()

  /** `isStored`: SQL that tells whether the queue has the job `$1`. */
  constructor(connectionString: string, isStored: string) {
    this.#pool = new Pool({ connectionString, max: connectionsMax })
    this.#listener = new Client({ connectionString })
    this.#isStored = isStored
  }

  async open(): Promise<void> {
    await this.#listener.connect()
    const table = "CREATE TABLE IF NOT EXISTS results (id text PRIMARY KEY, output json NOT NULL)"
    await this.#listener.query(table)
    this.#listener.on("notification", ({ payload = "" }) => {
      const { id, output } = JSON.parse(payload) as Done
      this.#waiting.get(id)?.(output)
    })
    await this.#listener.query(`LISTEN ${channel}`)
  }

  async read(id: string): Promise<unknown> {
    const told = Promise.withResolvers<unknown>()
    // Waiting before reading: a result between the two would be missed the other way round.
    this.#waiting.set(id, told.resolve)
    try {
      const { rows } = await this.#pool.query<{ output: unknown; stored: boolean }>({
        name: "read",
        text: `
          SELECT (SELECT output FROM results WHERE id = $1) AS output, (${this.#isStored}) AS stored`,
        values: [id],
      })
      const [row] = rows
      if (row !== undefined && row.output !== null) return row.output
      return row?.stored === true ? await told.promise : undefined
    } finally {
      this.#waiting.delete(id)
    }
  }
}
