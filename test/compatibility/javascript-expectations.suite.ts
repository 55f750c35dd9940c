import { expect } from "vitest"
import type { Expectations } from "./trials.suite.ts"

/** What each trial of javascript/trials.mjs must have shown, in Node and in a browser. */

const id = expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f-]{27}$/)
const small = { width: 256, height: 192 }
const cancelled = { status: "COMPLETED", error_type: "client_cancelled" }

interface Update {
  status: string
  logs?: { message: string }[]
}

function linesUpTo(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `line ${index + 1}`)
}

function linesOf(update: unknown): string[] {
  return ((update as Update | undefined)?.logs ?? []).map(({ message }) => message)
}

/** One id all the way, and logs that grow up to the last line. */
function expectSubscribed(saw: unknown): void {
  const { requestId, updates } = saw as { requestId: string; updates: Update[] }
  expect(saw).toMatchObject({
    data: { attempt: 1, lines: 5 },
    requestId: id,
    enqueued: [requestId],
  })
  expect(updates.map(({ status }) => status)).toContain("IN_PROGRESS")
  expect(updates.at(-1)).toMatchObject({ status: "COMPLETED", request_id: requestId })
  expect(linesOf(updates.at(-1))).toEqual(linesUpTo(5))
  for (const update of updates) {
    const shown = linesOf(update)
    expect(shown).toEqual(linesUpTo(shown.length))
  }
}

function expectStreamed(saw: unknown): void {
  const { events, done } = saw as { events: unknown[]; done: unknown }
  expect(events.length).toBeGreaterThan(1)
  expect(events.at(-1)).toEqual(done)
  expect(saw).toMatchObject({ done: { images: [small], seed: 7 }, hasRequestId: true })
}

function expectWhole(saw: unknown): void {
  const { sent, file } = saw as { sent: string; file: unknown }
  expect(file).toMatchObject({ status: 200, sha256: sent })
}

/** Three messages and their answers: bytes in msgpack, base64 in JSON. */
function answersWith(content: { length: unknown; isBytes: boolean }) {
  return ["0", "1", "2"].map((requestId) => ({
    images: [{ ...small, content, content_type: "image/jpeg" }],
    seed: 7,
    request_id: requestId,
  }))
}

const inBytes = answersWith({ length: expect.any(Number), isBytes: true })

/** How the URLs of requests and files begin in a door's answers: sources of regular expressions. */
export interface Bases {
  requests: string
  files: string
}

/** Of a server that is called by its own address. */
const origin = String.raw`http://127\.0\.0\.1:\d+`
export const ownBases: Bases = { requests: `${origin}/queue`, files: `${origin}/files` }
/** Of one that stands in for the hosts. */
export const hostBases: Bases = {
  requests: "https://queue.fal.run",
  files: "https://v3b.fal.media/files",
}
export const restUrl = "https://rest.fal.ai"

function callsAndQueue({ requests, files }: Bases): Expectations {
  return {
    "fal.run": (saw) => expect(saw).toEqual({ data: { prompt: "hello" }, requestId: id }),
    "fal.run: a picture, fetched by its URL": (saw) =>
      expect(saw).toMatchObject({
        data: { images: [{ ...small, url: expect.stringMatching(`^${files}/`) }], seed: 7 },
        file: { status: 200, contentType: "image/jpeg" },
      }),
    "fal.run: an abort signal cancels": (saw) =>
      expect(saw).toMatchObject({ name: "TimeoutError" }),
    "fal.subscribe: polling, onEnqueue, onQueueUpdate, logs": expectSubscribed,
    "fal.subscribe: streaming": expectSubscribed,
    "fal.subscribe: timeout cancels": (saw) =>
      expect(saw).toMatchObject({
        refused: { message: "Client timed out waiting for the request to complete after 500ms" },
        last: cancelled,
      }),
    "fal.queue.submit, isQueueStatus": (saw) => {
      const { status } = saw as { status: { request_id: string } }
      const url = `^${requests}/test/probe/requests/${status.request_id}$`
      const response_url = expect.stringMatching(url)
      expect(saw).toMatchObject({
        status: { status: "IN_QUEUE", request_id: id, response_url, queue_position: 0 },
        isStatus: true,
      })
    },
    "fal.queue.status, isCompletedQueueStatus": (saw) => {
      expect(saw).toMatchObject({ status: { status: "COMPLETED" }, isCompleted: true })
      expect(linesOf((saw as { status: unknown }).status)).toEqual(linesUpTo(1))
    },
    "fal.queue.streamStatus": (saw) => {
      const { events } = saw as { events: Update[] }
      expect(events.at(-1)).toMatchObject({ status: "COMPLETED" })
      expect(events.flatMap(linesOf)).toEqual(linesUpTo(3))
    },
    "fal.queue.subscribeToStatus": (saw) => {
      expect(saw).toMatchObject({ status: "COMPLETED" })
      expect(linesOf(saw)).toEqual(linesUpTo(2))
    },
    "fal.queue.result": (saw) => {
      const { submitted } = saw as { submitted: string }
      expect(saw).toMatchObject({ data: { attempt: 1, lines: 2 }, requestId: submitted })
    },
    "fal.queue.cancel": (saw) => expect(saw).toMatchObject(cancelled),
  }
}

const streams: Expectations = {
  "fal.stream": expectStreamed,
  "fal.stream: events of 200 KB full of emoji": (saw) =>
    expect(saw).toEqual([true, true, true, false]),
  "fal.stream: abort": (saw) => expect(saw).toMatchObject({ aborted: true }),
  "fal.stream: an endpoint that has none": (saw) =>
    expect(saw).toMatchObject({ name: "ApiError", status: 404 }),
  "fal.streaming.stream": expectStreamed,
}

/** What the client sends to the hosts themselves, past any proxy route: sockets, and calls with a token. */
export const pastTheProxy: Expectations = {
  "fal.subscribe: streaming with a token": expectSubscribed,
  "fal.stream: with a token": expectStreamed,
  "fal.realtime.connect": (saw) => expect(saw).toMatchObject(inBytes),
  "fal.realtime.connect: tokenProvider, maxBuffering": (saw) => expect(saw).toMatchObject(inBytes),
  "fal.realtime.connect: JSON text both ways": (saw) =>
    expect(saw).toMatchObject(answersWith({ length: expect.any(Number), isBytes: false })),
  "fal.realtime.connect: onError": (saw) =>
    expect(saw).toMatchObject({
      name: "ApiError",
      message: expect.stringMatching(/^VALIDATION_ERROR: prompt/),
      status: 400,
    }),
}

function uploads({ files }: Bases): Expectations {
  const picture = {
    url: expect.stringMatching(`^${files}/`),
    status: 200,
    contentType: "image/png",
    bytes: 5,
  }
  return {
    "fal.storage.upload": (saw) => expect(saw).toMatchObject(picture),
    "fal.storage.upload: a File with its name": (saw) =>
      expect(saw).toMatchObject({ status: 200, contentType: "text/plain", bytes: 5 }),
    // A rule for a user that there is not is dropped.
    "fal.storage.upload: lifecycle": (saw) => expect(saw).toEqual({ default: "hide", rules: [] }),
    "fal.storage.transformInput": (saw) =>
      expect(saw).toMatchObject({ kept: "data:,", file: picture }),
    "fal.run: a Blob in its input is uploaded": (saw) => expect(saw).toMatchObject(picture),
  }
}

const largeUpload: Expectations = { "fal.storage.upload: 91 MiB, in parts": expectWhole }

const errors: Expectations = {
  "ValidationError.fieldErrors, ValidationError.getFieldErrors": (saw) =>
    expect(saw).toMatchObject({
      name: "ValidationError",
      status: 422,
      hasRequestId: true,
      isValidationError: true,
      fieldErrors: [{ type: "missing" }, { type: "less_than_equal" }],
      ofField: [{ loc: ["body", "num_images"], ctx: { le: 4 }, input: 99 }],
    }),
  "ApiError.isUserTimeout: startTimeout passes while it waits": (saw) =>
    expect(saw).toMatchObject({
      status: 504,
      body: { error_type: "startup_timeout" },
      isApiError: true,
      isUserTimeout: true,
    }),
  "fal.queue.submit: no such app": (saw) =>
    expect(saw).toMatchObject({
      name: "ApiError",
      status: 404,
      body: { detail: expect.stringContaining("not found") },
    }),
  isRetryableError: (saw) => expect(saw).toMatchObject({ status: 404, now: false, if404: true }),
  "fal.subscribe: an app that failed": (saw) =>
    expect(saw).toMatchObject({
      status: 500,
      body: { error_type: "runner_server_error" },
      hasRequestId: true,
    }),
}

const configuration: Expectations = {
  createFalClient: (saw) => expect(saw).toMatchObject({ data: { n: 1 } }),
  "fal.config": (saw) => expect(saw).toEqual({ data: { n: 2 }, calls: 1 }),
  "withMiddleware, withProxy": (saw) =>
    expect(saw).toEqual({ data: { n: 3 }, passed: ["https://fal.run/tintype/echo"] }),
  parseEndpointId: (saw) =>
    expect(saw).toEqual({ namespace: "workflows", owner: "acme", alias: "logo", path: "step" }),
}

/** Everything that works behind a proxy route, too. */
export function trialsAt(bases: Bases): Expectations {
  return {
    ...callsAndQueue(bases),
    ...streams,
    ...uploads(bases),
    ...largeUpload,
    ...errors,
    ...configuration,
  }
}
