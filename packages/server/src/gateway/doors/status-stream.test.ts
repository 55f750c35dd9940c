import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { openTestGateway, session, type TestGateway } from "../gateway.suite.ts"
import { EventReader } from "./event-reader.suite.ts"

let gateway: TestGateway
beforeAll(async () => {
  gateway = await openTestGateway()
})
afterEach(async () => {
  await gateway.clear()
})
afterAll(async () => {
  await gateway.close()
})

interface Status {
  status?: string
  logs: { message: string; labels: Record<string, string> }[] | null
  progress?: unknown
}

class StatusReader extends EventReader {
  static async of(from: TestGateway, id: string, query = "?logs=1"): Promise<StatusReader> {
    const path = `/queue/fal-ai/flux/requests/${id}/status/stream${query}`
    const { outgoing, incoming } = await EventReader.open(from.url + path)
    return new StatusReader(outgoing, incoming)
  }

  async nextStatus(): Promise<Status | null> {
    const block = await this.next()
    if (block === null) return null
    if (!block.startsWith("data: ")) throw new Error(`not a status: ${block}`)
    const parsed: unknown = JSON.parse(block.slice(6))
    if (typeof parsed !== "object") throw new Error(`not a status: ${block}`)
    return { logs: null, ...parsed }
  }

  /** Statuses up to the one that the test looks for. */
  async until(found: (status: Status) => boolean): Promise<Status[]> {
    const statuses: Status[] = []
    for (;;) {
      const status = await this.nextStatus()
      if (status === null) throw new Error(`the stream ended: ${JSON.stringify(statuses)}`)
      statuses.push(status)
      if (found(status)) return statuses
    }
  }
}

describe("status stream", () => {
  it("tells every state, logs once each, and ends after COMPLETED", async () => {
    const id = await gateway.submit()
    const reader = await StatusReader.of(gateway, id)
    expect(reader.incoming.statusCode).toBe(200)
    expect(reader.incoming.headers["content-type"]).toMatch(/^text\/event-stream/)
    expect(reader.incoming.headers["x-fal-request-id"]).toBe(id)
    expect(await reader.nextStatus()).toMatchObject({
      status: "IN_QUEUE",
      queue_position: 0,
      logs: [],
      metrics: {},
    })
    const claim = await gateway.claim()
    const statuses = await reader.until(({ status }) => status === "IN_PROGRESS")
    const messages = ["one", "Grüße 🌅 \u2028", "three"]
    for (const [index, message] of messages.entries()) {
      gateway.say(claim, index + 1, message)
      statuses.push(...(await reader.until(({ logs }) => logs !== null && logs.length > 0)))
    }
    gateway.say(claim, 4, "last words")
    await gateway.settle(claim)
    statuses.push(...(await reader.until(({ status }) => status === "COMPLETED")))
    expect(statuses.at(-1)).toMatchObject({ metrics: { inference_time: 1.25 } })
    const told = statuses.flatMap(({ logs }) => logs ?? [])
    expect(told.map(({ message }) => message)).toEqual([...messages, "last words"])
    expect(await reader.next()).toBeNull()
    // oxlint-disable-next-line no-control-regex
    expect(reader.raw).toMatch(/^[\x00-\x7f]*$/)
  })

  it("leaves logs out when nobody asked for them", async () => {
    const id = await gateway.submit()
    const claim = await gateway.claim()
    gateway.say(claim, 1, "unheard")
    await gateway.settle(claim)
    const reader = await StatusReader.of(gateway, id, "")
    expect(await reader.nextStatus()).toMatchObject({ status: "COMPLETED", logs: null })
    expect(await reader.next()).toBeNull()
  })

  it("tells a position that changed, and progress", async () => {
    await gateway.submit()
    const id = await gateway.submit()
    const reader = await StatusReader.of(gateway, id)
    expect(await reader.nextStatus()).toMatchObject({ queue_position: 1 })
    const first = await gateway.claim()
    expect(await reader.nextStatus()).toMatchObject({ queue_position: 0 })
    await gateway.settle(first)
    const second = await gateway.claim()
    const lease = second.request.attempt?.lease ?? ""
    gateway.events.add(lease, { seq: 1, at: 1, kind: "progress", step: 2, steps: 4 })
    const statuses = await reader.until(({ progress }) => progress !== undefined)
    expect(statuses.at(-1)?.progress).toEqual({ step: 2, steps: 4 })
    await gateway.settle(second)
    await reader.until(({ status }) => status === "COMPLETED")
  })

  it("tells a lost attempt as a step back to the queue, with a note of the gateway", async () => {
    const own = await openTestGateway()
    const id = await own.submit()
    const reader = await StatusReader.of(own, id)
    await own.claim()
    await reader.until(({ status }) => status === "IN_PROGRESS")
    await own.store.endAttempts(session, "lost")
    const statuses = await reader.until(({ status }) => status === "IN_QUEUE")
    const notes = statuses.flatMap(({ logs }) => logs ?? [])
    expect(notes.map(({ labels }) => labels["source"])).toContain("gateway")
    reader.incoming.destroy()
    await own.close()
  })

  it("pings while there is nothing to tell", async () => {
    const quick = await openTestGateway({ timing: { streamPingMs: 20 } })
    const id = await quick.submit()
    const claim = await quick.claim()
    const reader = await StatusReader.of(quick, id)
    expect(await reader.nextStatus()).toMatchObject({ status: "IN_PROGRESS" })
    expect(await reader.next()).toBe(": ping")
    expect(await reader.next()).toBe(": ping")
    await quick.settle(claim)
    let block = await reader.next()
    while (block === ": ping") block = await reader.next()
    expect(block).toContain('"COMPLETED"')
    await quick.close()
  })

  it("lets go of everything when its listener is gone", async () => {
    const own = await openTestGateway({ limits: { waitersMax: 1 } })
    const id = await own.submit()
    const claim = await own.claim()
    const reader = await StatusReader.of(own, id)
    await reader.nextStatus()
    const refused = await StatusReader.of(own, id)
    expect(refused.incoming.statusCode).toBe(429)
    refused.incoming.destroy()
    const closed = own.nextEntry()
    reader.incoming.destroy()
    await closed
    const again = await StatusReader.of(own, id)
    expect(again.incoming.statusCode).toBe(200)
    await own.settle(claim)
    await again.until(({ status }) => status === "COMPLETED")
    await own.close()
  })

  it("answers HEAD with its head alone", async () => {
    const id = await gateway.submit()
    const answer = await gateway.call("HEAD", `/queue/fal-ai/flux/requests/${id}/status/stream`)
    expect([answer.status, answer.body.length]).toEqual([200, 0])
  })
})
