import { expect } from "vitest"
import type { Expectations } from "./trials.suite.ts"

/** What each trial of python/sync_client.py and python/async_client.py must have shown. */

const id = expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f-]{27}$/)
const cancelled = { status: "Completed", error_type: "client_cancelled" }
const small = { width: 256, height: 192 }

function linesOf(status: unknown): string[] {
  return ((status as { logs: { message: string }[] | null }).logs ?? []).map((log) => log.message)
}

function linesUpTo(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `line ${index + 1}`)
}

function handleAt(base: string, app: string) {
  const path = String.raw`https://${base}/${app}/requests/[0-9a-f-]{36}`
  return {
    request_id: id,
    status_url: expect.stringMatching(new RegExp(`^${path}/status$`)),
    response_url: expect.stringMatching(new RegExp(`^${path}$`)),
    cancel_url: expect.stringMatching(new RegExp(`^${path}/cancel$`)),
  }
}

/** Updates of a request that logs `line 1` … `line N`: each shows all lines so far, the last one all of them. */
function expectGrowingLogs(updates: unknown, lines: number): void {
  const seen = updates as { status: string }[]
  expect(new Set(seen.map(({ status }) => status))).toContain("InProgress")
  expect(seen.at(-1)).toMatchObject({ status: "Completed", error: null })
  expect(linesOf(seen.at(-1))).toEqual(linesUpTo(lines))
  for (const update of seen) {
    const shown = linesOf(update)
    expect(shown).toEqual(linesUpTo(shown.length))
  }
}

function live(requestId: string) {
  return {
    images: [expect.objectContaining({ content: [expect.any(Number), "ffd8ff"] })],
    seed: 7,
    request_id: requestId,
  }
}

/** The trials that need nothing but the run and queue hosts, whose answers name them by `base`. */
export function runAndQueue(base: string, webhooks: () => unknown[]): Expectations {
  return {
    run: (saw) => expect(saw).toEqual({ prompt: "hello", seed_is_exact: true }),
    "run: path, hint, start_timeout, headers": (saw) =>
      expect(saw).toMatchObject({ images: [small], seed: 7 }),
    "run: a picture, fetched by its URL": (saw) =>
      expect(saw).toMatchObject({
        result: { images: [{ ...small, content_type: "image/jpeg" }] },
        file: { status: 200, content_type: "image/jpeg" },
      }),
    submit: (saw) => expect(saw).toEqual({ ...handleAt(base, "tintype/echo"), result: { n: 1 } }),
    "submit: priority, hint, headers, webhook_url": (saw) => {
      const result = { told: "by webhook" }
      expect(saw).toEqual({ request_id: id, result })
      const { request_id } = saw as { request_id: string }
      expect(webhooks()).toContainEqual(
        expect.objectContaining({ request_id, status: "OK", payload: result }),
      )
    },
    "submit: start_timeout passes while it waits": (saw) =>
      expect(saw).toMatchObject({
        type: "FalClientHTTPError",
        status_code: 504,
        error_type: "startup_timeout",
        timeout_type: "user",
      }),
    "subscribe: with_logs, on_enqueue, on_queue_update": (saw) => {
      expect(saw).toMatchObject({ result: { attempt: 1, lines: 5 }, enqueued: [id] })
      expectGrowingLogs((saw as { updates: unknown }).updates, 5)
    },
    "subscribe, FalClientTimeoutError: client_timeout cancels": (saw) =>
      expect(saw).toMatchObject({
        text: expect.stringMatching(/^Request [0-9a-f-]{36} timed out after 1\.5 seconds$/),
        is_error: true,
        last: cancelled,
      }),
    "Status, Queued, InProgress, Completed": (saw) => {
      const seen = saw as { status: string }[]
      expect(seen[0]).toEqual({ status: "Queued", position: expect.any(Number) })
      expect(seen.map(({ status }) => status)).toContain("InProgress")
      expect(seen.at(-1)).toMatchObject({
        status: "Completed",
        metrics: { inference_time: expect.any(Number) },
        error: null,
      })
    },
    "RequestHandle.status": (saw) => {
      expect(saw).toMatchObject({ status: "Completed" })
      expect(linesOf(saw)).toEqual(linesUpTo(2))
    },
    "RequestHandle.iter_events": (saw) => expectGrowingLogs(saw, 3),
    "RequestHandle.get": (saw) => expect(saw).toEqual({ attempt: 1, lines: 3 }),
    "RequestHandle.cancel": (saw) =>
      expect(saw).toMatchObject({ status_code: 499, error_type: "client_cancelled" }),
    "RequestHandle.from_request_id": (saw) => expect(saw).toEqual({ attempt: 1, lines: 1 }),
    "Client.get_handle: a client with a key of its own": (saw) =>
      expect(saw).toEqual({
        ...handleAt(base, "test/probe"),
        result: { attempt: 1, lines: 1 },
      }),
    status: (saw) => expect(linesOf(saw)).toEqual(linesUpTo(1)),
    result: (saw) => expect(saw).toEqual({ attempt: 1, lines: 1 }),
    cancel: (saw) => expect(saw).toMatchObject(cancelled),
    stream: (saw) => {
      const events = saw as unknown[]
      expect(events.length).toBeGreaterThan(1)
      expect(events.at(-1)).toMatchObject({ images: [small], seed: 7 })
    },
    "stream: events of 200 KB full of emoji": (saw) =>
      expect(saw).toEqual([true, true, true, false]),
    "realtime: with the key": (saw) => expect(saw).toMatchObject(live("two")),
    "FalClientHTTPError, FalClientError: input that the model refuses": (saw) =>
      expect(saw).toMatchObject({
        type: "FalClientHTTPError",
        message: [
          { loc: ["body", "prompt"], type: "missing" },
          { loc: ["body", "num_images"], type: "less_than_equal", ctx: { le: 4 }, input: 99 },
        ],
        status_code: 422,
        error_type: null,
        response_status: 422,
      }),
    "FalClientHTTPError: an app that failed": (saw) =>
      expect(saw).toMatchObject({
        message: "Internal Server Error",
        status_code: 500,
        error_type: "runner_server_error",
        has_request_id: true,
      }),
    "FalClientHTTPError: no such app": (saw) =>
      expect(saw).toMatchObject({
        message: expect.stringContaining("not found"),
        status_code: 404,
      }),
    "FalClientHTTPError: no such request": (saw) =>
      expect(saw).toMatchObject({ message: "Request not found", status_code: 404 }),
  }
}

function expectWhole(saw: unknown): void {
  const { sent, file } = saw as { sent: string; file: { status: number; sha256: string } }
  expect(file).toMatchObject({ status: 200, sha256: sent })
}

/** The trials that need the hosts of tokens and uploads, too: their names are fixed in the client. */
export const tokensAndFiles: Expectations = {
  "realtime: with a token": (saw) => expect(saw).toMatchObject(live("one")),
  "RealtimeConnection.send, RealtimeConnection.recv, RealtimeConnection.close": (saw) =>
    expect(saw).toMatchObject({ answers: ["0", "1", "2"].map(live), after_close: null }),
  "RealtimeConnection.recv: input that the model refuses": (saw) =>
    expect(saw).toEqual({
      type: "RealtimeError",
      error: "VALIDATION_ERROR",
      reason: expect.stringContaining("prompt"),
    }),
  ws_connect: (saw) => expect(saw).toMatchObject(live("raw")),
  upload: (saw) =>
    expect(saw).toMatchObject({
      url: expect.stringMatching(/^https:\/\/v3b\.fal\.media\/files\/.*\.png$/),
      status: 200,
      content_type: "image/png",
      bytes: 5,
    }),
  "upload: repository fal": (saw) =>
    expect(saw).toMatchObject({ status: 200, content_type: "text/plain", bytes: 9 }),
  // A rule for a user that there is not is dropped.
  "upload, StorageSettings, StorageACL, StorageACLRule: lifecycle": (saw) =>
    expect(saw).toEqual({ default: "hide", rules: [] }),
  "upload: 101 MiB, in parts": expectWhole,
  upload_file: expectWhole,
  "upload_file: 101 MiB, in parts": expectWhole,
  upload_image: (saw) => expect(saw).toMatchObject({ status: 200, content_type: "image/png" }),
}

/** What only the synchronous client has, as it calls nobody. */
export const withoutCalls: Expectations = {
  encode: (saw) => expect(saw).toBe("data:text/plain;base64,c29tZSB0ZXh0"),
  encode_file: (saw) => expect(saw).toBe("data:text/plain;base64,c29tZSB3b3Jkcwo="),
  encode_image: (saw) => expect(saw).toBe("data:image/png;base64,iVBORw0K"),
  set_get_current_app: (saw) => expect(saw).toEqual({ inside: "an app" }),
}
