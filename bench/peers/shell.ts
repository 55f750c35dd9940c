import fastify from "fastify"

/** A queue as the shell sees it. */
export interface Peer {
  /** Resolves to the job's id when the queue has acknowledged it. */
  submit(input: unknown): Promise<string>
  /** Waits until the job is done, told of it by the queue; undefined when there is no such job. */
  result(id: string): Promise<unknown>
}

/**
 * The HTTP that is the same around every peer: POST submits, GET waits for the result. Its answers are compiled from a
 * schema, as Fastify recommends, and nothing is logged: https://fastify.dev/docs/latest/Reference/Validation-and-Serialization/
 */
export async function serve(peer: Peer): Promise<void> {
  const shell = fastify()
  const acknowledged = {
    response: { 200: { type: "object", properties: { id: { type: "string" } } } },
  }
  shell.post("/jobs", { schema: acknowledged }, async ({ body }) => ({
    id: await peer.submit(body),
  }))
  shell.get("/jobs/:id", async ({ params }, reply) => {
    const { id } = params as { id: string }
    const result = await peer.result(id)
    if (result === undefined) return reply.code(404).send({ detail: "no such job" })
    return result
  })
  console.log(`listening ${await shell.listen({ host: "127.0.0.1", port: 0 })}`)
}

/** What the bench hands to a peer's process: where its database is. */
export function databaseUrl(): string {
  const url = process.argv[2]
  if (url === undefined) throw new Error("started without the address of its database")
  return url
}

export const queueName = "echo"
