import {
  createGatewayFrameReader,
  createRunnerFrameReader,
  LinkProtocolError,
} from "@tintype/protocol"
import * as fc from "fast-check"
import { brokenAnswer, type FuzzTarget } from "./fuzz-target.ts"
import { announcement, completion, connection, framed } from "./http-arbitrary.ts"
import { inputsOf, type OpenApi } from "./input-arbitrary.ts"
import { linkMessage, linkMessages } from "./link-arbitrary.ts"

/** What is fuzzed. Each part sends until its time is over and throws with the seed when a promise is broken. */

export interface FuzzPlan {
  seed: number
  /** Of each part. */
  forMs: number
}

export interface FuzzPart {
  name: string
  run: (target: FuzzTarget, plan: FuzzPlan) => Promise<number>
}

/** So many are sent before the server is asked how it is. */
const batch = 25
const runsMax = 10_000_000

const endpoints = [
  "tintype/echo",
  "fal-ai/flux/dev",
  "fal-ai/flux/schnell",
  "fal-ai/flux/dev/image-to-image",
  "fal-ai/fast-sdxl",
]

export const parts: FuzzPart[] = [
  {
    name: "HTTP",
    run: async (target, plan) =>
      await check(target, plan, connection, async ({ bytes, ends }) => {
        const broken = brokenAnswer(await target.send(bytes, { ends }))
        if (broken !== null) throw new Error(broken)
      }),
  },
  {
    name: "inputs",
    run: async (target, plan) => {
      const doors = await Promise.all(endpoints.map((endpoint) => inputsAt(target, endpoint)))
      return await check(target, plan, fc.oneof(...doors.flat()), async ({ path, body }) => {
        const head = `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close`
        const length = Buffer.byteLength(body)
        const text = `${head}\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n${body}`
        const answer = await target.send(Buffer.from(text), { waits: true })
        if (!answer.startsWith("HTTP/1.1 ")) throw new Error(`no answer: ${answer.slice(0, 200)}`)
        const broken = brokenAnswer(answer)
        if (broken !== null) throw new Error(broken)
      })
    },
  },
  {
    name: "uploads",
    run: async (target, plan) => {
      const upload = fc.record({ announcement, framed, completion, multipart: fc.boolean() })
      return await check(target, plan, upload, async (given) => await sendUpload(target, given))
    },
  },
  {
    name: "link",
    run: async (target, plan) =>
      await check(target, plan, linkMessages, async ({ messages, asText }) => {
        await target.link(messages, { asText })
      }),
  },
  {
    name: "msgpack",
    run: async (target, plan) =>
      await check(target, plan, linkMessage, async (bytes) => {
        const readers = [createRunnerFrameReader(), createGatewayFrameReader()]
        for (const read of readers) refusesOrReads(read, bytes)
      }),
  },
]

/** Anything but frames, or the one error that says what is wrong with them, would end a process. */
function refusesOrReads(read: (message: Uint8Array) => unknown, bytes: Uint8Array): void {
  try {
    read(bytes)
  } catch (error) {
    if (!(error instanceof LinkProtocolError)) throw error
  }
}

interface GivenUpload {
  announcement: object
  framed: [head: string, body: string]
  completion: unknown
  multipart: boolean
}

/** A file that is announced, sent in bytes that need not be what was said, and completed in some way. */
async function sendUpload(target: FuzzTarget, given: GivenUpload): Promise<void> {
  const route = given.multipart ? "initiate-multipart" : "initiate"
  const initiated = await fetch(`${target.url}/rest/storage/upload/${route}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(given.announcement),
  })
  const text = await initiated.text()
  if (initiated.status === 500) throw new Error(text)
  if (initiated.status !== 200) return
  const { pathname } = new URL((JSON.parse(text) as { upload_url: string }).upload_url)
  const [head, body] = given.framed
  const put = `PUT ${pathname}${given.multipart ? "/1" : ""} HTTP/1.1\r\nhost: 127.0.0.1\r\n${head}\r\n${body}`
  const complete = JSON.stringify(given.completion)
  const post =
    `POST ${pathname}/complete HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n` +
    `content-length: ${Buffer.byteLength(complete)}\r\n\r\n${complete}`
  for (const bytes of given.multipart ? [put, post] : [put]) {
    const broken = brokenAnswer(await target.send(Buffer.from(bytes), {}))
    if (broken !== null) throw new Error(broken)
  }
}

async function inputsAt(
  target: FuzzTarget,
  endpoint: string,
): Promise<fc.Arbitrary<{ path: string; body: string }>[]> {
  const url = `${target.url}/api/openapi/queue/openapi.json?endpoint_id=${endpoint}`
  const document = (await (await fetch(url)).json()) as OpenApi
  return inputsOf(document).flatMap((input) =>
    ["/run", "/queue"].map((door) => input.map((body) => ({ path: `${door}/${endpoint}`, body }))),
  )
}

async function check<Value>(
  target: FuzzTarget,
  { seed, forMs }: FuzzPlan,
  arbitrary: fc.Arbitrary<Value>,
  send: (value: Value) => Promise<void>,
): Promise<number> {
  let sent = 0
  const property = fc.asyncProperty(arbitrary, async (value) => {
    await send(value)
    sent += 1
    if (sent % batch !== 0) return
    const objections = await target.objections()
    if (objections.length > 0) throw new Error(objections.join("\n"))
  })
  await fc.assert(property, {
    seed,
    numRuns: runsMax,
    interruptAfterTimeLimit: forMs,
    markInterruptAsFailure: false,
    endOnFailure: false,
  })
  const objections = await target.objections()
  if (objections.length > 0) throw new Error(`seed ${seed}: ${objections.join("\n")}`)
  return sent
}
