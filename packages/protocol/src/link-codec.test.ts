import { encode } from "@msgpack/msgpack"
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import {
  type Frame,
  createGatewayFrameReader,
  createRunnerFrameReader,
  encodeFrames,
  linkInlineBytesMax,
} from "./link-codec.ts"
import { LinkProtocolError } from "./link-frames.ts"
import {
  type AttemptEvent,
  type GatewayFrame,
  type RunnerFrame,
  linkChunkBytesMax,
  linkFrameBytesMax,
  linkMessageBytesMax,
} from "./link.ts"

/** The first message of a link. */
const decodeRunnerFrames = (message: Uint8Array) => createRunnerFrameReader()(message)
const decodeGatewayFrames = (message: Uint8Array) => createGatewayFrameReader()(message)

const token = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/)
// A half of a surrogate pair is no Unicode text; msgpack replaces it.
const text = fc.string({ unit: "grapheme" })
const count = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })
const amount = fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }).map((n) => n + 0)
const bytes = fc.option(fc.uint8Array({ maxLength: 200 }))
const record = fc.dictionary(
  text.filter((name) => name !== "__proto__"),
  text,
  { noNullPrototype: true },
)

const attemptEvent: fc.Arbitrary<AttemptEvent> = fc.oneof(
  fc.record({
    seq: count,
    at: amount,
    kind: fc.constant("log" as const),
    level: fc.constantFrom("STDERR", "STDOUT", "ERROR", "INFO", "WARN", "DEBUG"),
    message: text,
  }),
  fc.record({
    seq: count,
    at: amount,
    kind: fc.constant("log" as const),
    level: fc.constant("INFO" as const),
    message: text,
    labels: record,
  }),
  fc.record({
    seq: count,
    at: amount,
    kind: fc.constant("progress" as const),
    step: amount,
    steps: amount,
  }),
)

const runnerFrame: fc.Arbitrary<RunnerFrame> = fc.oneof(
  fc.record({
    type: fc.constant("hello" as const),
    version: fc.integer({ min: 1, max: 9 }),
    session: token,
    runner: fc.record({ pid: count, startedAt: text, build: text }),
    slots: fc.integer({ min: 0, max: 4_096 }),
    apps: fc.array(text),
    held: fc.array(fc.record({ lease: token, attempt: count, nextSeq: count })),
    unacked: fc.array(token),
  }),
  fc.record({ type: fc.constant("credit" as const), count: fc.integer({ min: 1, max: 4_096 }) }),
  fc.record({ type: fc.constant("accepted" as const), lease: token }),
  fc.record({ type: fc.constant("event" as const), lease: token, event: attemptEvent }),
  fc.record({
    type: fc.constant("done" as const),
    lease: token,
    status: fc.integer({ min: 200, max: 599 }),
    headers: record,
    body: bytes,
    inferenceMs: amount,
  }),
  fc.record({
    type: fc.constant("failed" as const),
    lease: token,
    reason: fc.constantFrom(
      "exception",
      "aborted",
      "incomplete_response",
      "unknown_app",
      "timed_out",
    ),
    detail: text,
    inferenceMs: amount,
  }),
  fc.record({
    type: fc.constant("chunk" as const),
    lease: token,
    seq: count,
    data: fc.uint8Array({ maxLength: 200 }),
  }),
  fc.record({ type: fc.constant("retire" as const), why: text }),
  fc.record({ type: fc.constant("pong" as const), at: amount }),
)

const gatewayFrame: fc.Arbitrary<GatewayFrame> = fc.oneof(
  fc.record({
    type: fc.constant("welcome" as const),
    keep: fc.array(fc.record({ lease: token, storedSeq: fc.nat() })),
    abandon: fc.array(token),
    orphanMs: amount,
  }),
  fc.record({
    type: fc.constant("assign" as const),
    lease: token,
    attempt: count,
    requestId: text,
    app: text,
    endpoint: text,
    path: text,
    input: bytes,
    inputBytes: fc.nat(),
    headers: record,
    fileBase: text,
    logBytesMax: fc.nat(),
    timeoutMs: amount,
    streams: fc.boolean(),
  }),
  fc.record({ type: fc.constant("stored" as const), lease: token, seq: fc.nat() }),
  fc.record({ type: fc.constant("taken" as const), lease: token, seq: count }),
  fc.record({
    type: fc.constant("settled" as const),
    lease: token,
    result: fc.constantFrom("settled", "repeated", "stale"),
  }),
  fc.record({
    type: fc.constant("cancel" as const),
    lease: token,
    reason: fc.constantFrom("client_cancelled", "client_disconnected", "server_stopping"),
  }),
  fc.record({ type: fc.constant("drain" as const), deadlineMs: amount }),
  fc.record({ type: fc.constant("exit" as const) }),
  fc.record({ type: fc.constant("ping" as const), at: amount }),
)

/** The reason of the refusal, null for frames. Anything but a `LinkProtocolError` fails the test. */
function refusal(decode: (message: Uint8Array) => unknown, message: Uint8Array): string | null {
  try {
    decode(message)
    return null
  } catch (error) {
    if (error instanceof LinkProtocolError) return error.message
    throw error
  }
}

/** As an app written in plain JavaScript may pass it. */
const unlabelled: object = { labels: undefined }

describe("frames", () => {
  test("a runner's frames arrive as they were sent, in order", () => {
    fc.assert(
      fc.property(fc.array(runnerFrame, { maxLength: 20 }), (frames) => {
        expect(encodeFrames(frames).flatMap(createRunnerFrameReader())).toEqual(frames)
      }),
    )
  })

  test("the gateway's frames arrive as they were sent, in order", () => {
    fc.assert(
      fc.property(fc.array(gatewayFrame, { maxLength: 20 }), (frames) => {
        expect(encodeFrames(frames).flatMap(createGatewayFrameReader())).toEqual(frames)
      }),
    )
  })

  test("one side's frames are refused from the other", () => {
    fc.assert(
      fc.property(runnerFrame, gatewayFrame, (fromRunner, fromGateway) => {
        expect(refusal(decodeGatewayFrames, encodeFrames([fromRunner])[0]!)).toMatch("frame.type")
        expect(refusal(decodeRunnerFrames, encodeFrames([fromGateway])[0]!)).toMatch("frame.type")
      }),
      { numRuns: 50 },
    )
  })

  test("an optional field that is undefined is left out", () => {
    const log = { seq: 1, at: 0, kind: "log", level: "INFO", message: "m" } as const
    const event: AttemptEvent = { ...log, ...unlabelled }
    const [message] = encodeFrames([{ type: "event", lease: "l", event }])
    expect(decodeRunnerFrames(message!)).toStrictEqual([{ type: "event", lease: "l", event: log }])
  })

  test("a header or label named __proto__ is left out and does not break the link", () => {
    const hostile: Record<string, string> = JSON.parse('{"__proto__":"x","a":"b"}')
    const done: Frame = {
      type: "done",
      lease: "l",
      status: 200,
      headers: hostile,
      body: null,
      inferenceMs: 1,
    }
    const event: AttemptEvent = {
      seq: 1,
      at: 0,
      kind: "log",
      level: "INFO",
      message: "m",
      labels: hostile,
    }
    const frames = encodeFrames([done, { type: "event", lease: "l", event }])
    expect(decodeRunnerFrames(frames[0]!)).toEqual([
      { ...done, headers: { a: "b" } },
      { type: "event", lease: "l", event: { ...event, labels: { a: "b" } } },
    ])
  })
})

/** A frame of bytes; the only one that may be as large as the link allows. */
function answer(length: number): RunnerFrame {
  const body = new Uint8Array(length).fill(120)
  return { type: "done", lease: "l", status: 200, headers: {}, body, inferenceMs: 1 }
}

function bytesOf(frame: RunnerFrame): number | undefined {
  return frame.type === "done" ? frame.body?.length : undefined
}

describe("messages", () => {
  test("no frames make no message", () => {
    expect(encodeFrames([])).toEqual([])
  })

  test("frames are packed into as few messages as hold them", () => {
    const frames = Array.from({ length: 30_000 }, (_, seq) => ({
      type: "stored" as const,
      lease: "l".repeat(32),
      seq,
    }))
    const messages = encodeFrames(frames)
    const total = messages.reduce((sum, message) => sum + message.length, 0)
    expect(messages.every((message) => message.length <= linkMessageBytesMax)).toBe(true)
    expect(messages.length).toBe(Math.ceil(total / linkMessageBytesMax))
    expect(messages.flatMap(decodeGatewayFrames)).toEqual(frames)
  })

  test("the largest frame fills a message, one byte more takes two", () => {
    const overhead = encodeFrames([answer(100_000)])[0]!.length - 100_000
    const largest = linkMessageBytesMax - overhead
    const [message] = encodeFrames([answer(largest)])
    expect(message!.length).toBe(linkMessageBytesMax)
    expect(decodeRunnerFrames(message!)).toHaveLength(1)
    expect(encodeFrames([answer(largest + 1)])).toHaveLength(2)
    expect(encodeFrames([answer(largest), answer(1)])).toHaveLength(2)
    // `exit` takes 11 bytes: beside it the largest answer is 11 shorter.
    expect(encodeFrames([answer(largest - 11), { type: "exit" }])).toHaveLength(1)
    expect(encodeFrames([answer(largest - 10), { type: "exit" }])).toHaveLength(2)
  })

  test("a frame with the largest inline body and full headers fits", () => {
    const headers = Object.fromEntries(
      Array.from({ length: 100 }, (_, index) => [`x-${index}`, "v".repeat(600)]),
    )
    const body = new Uint8Array(linkInlineBytesMax)
    const done: Frame = { type: "done", lease: "l", status: 200, headers, body, inferenceMs: 1 }
    expect(encodeFrames([done])).toHaveLength(1)
  })

  test("a message over the limit is refused", () => {
    expect(refusal(decodeRunnerFrames, new Uint8Array(linkMessageBytesMax + 1))).toBe(
      `message of ${linkMessageBytesMax + 1} bytes`,
    )
  })
})

function largestAnswer(): RunnerFrame {
  const overhead = encodeFrames([answer(100_000)])[0]!.length - 100_000
  // More than 65,535 bytes have a head of 5 bytes, however many they are.
  return answer(linkFrameBytesMax - overhead)
}

/** A chunk of so many bytes. */
function chunkOf(length: number): Frame {
  return { type: "chunk", lease: "l", seq: 1, data: new Uint8Array(length) }
}

describe("a frame that is larger than a message", () => {
  const full = linkMessageBytesMax - 64

  test("travels in messages that hold its parts, in order among the others", () => {
    const frames = [answer(1), answer(700_000), answer(2), answer(300_000), answer(3)]
    const messages = encodeFrames(frames)
    expect(messages).toHaveLength(1 + 3 + 1 + 2 + 1)
    expect(messages.every((message) => message.length <= linkMessageBytesMax)).toBe(true)
    const read = createRunnerFrameReader()
    expect(messages.map((message) => read(message).length)).toEqual([1, 0, 0, 1, 1, 0, 1, 1])
    const arrived = messages.flatMap(createRunnerFrameReader())
    expect(arrived.map(bytesOf)).toEqual(frames.map(bytesOf))
  })

  test("travels in both directions, with bytes as they are", () => {
    const input = Uint8Array.from({ length: 600_000 }, (_, index) => index % 251)
    const assign: GatewayFrame = {
      type: "assign",
      lease: "l",
      attempt: 1,
      requestId: "r",
      app: "a/b",
      endpoint: "a/b",
      path: "/",
      input,
      inputBytes: input.length,
      headers: {},
      fileBase: "",
      logBytesMax: 1,
      timeoutMs: 1,
      streams: false,
    }
    const [arrived] = encodeFrames([assign]).flatMap(createGatewayFrameReader())
    expect(arrived).toMatchObject({ type: "assign", inputBytes: input.length })
    const same = arrived?.type === "assign" && Buffer.from(input).equals(arrived.input ?? input)
    expect(same).toBe(true)
  })

  test("is at most as large as the link says", () => {
    expect(encodeFrames([largestAnswer()]).flatMap(createRunnerFrameReader())).toHaveLength(1)
    expect(() => encodeFrames([largestAnswer(), answer(linkFrameBytesMax)])).toThrow(RangeError)
  })

  test.each<[string, object[], string]>([
    ["another frame within it", [{ type: "pong", at: 1 }], "another frame came before the last"],
    [
      "a part beside a frame",
      [
        { type: "pong", at: 1 },
        { type: "part", bytes: new Uint8Array(1), isLast: true },
      ],
      "not alone",
    ],
    [
      "a part that is not full",
      [{ type: "part", bytes: new Uint8Array(5), isLast: false }],
      `5 bytes where ${full} were expected`,
    ],
    ["no bytes", [{ type: "part", bytes: "", isLast: true }], "part.bytes: at most"],
    ["no end", [{ type: "part", bytes: new Uint8Array(full), isLast: 1 }], "part.isLast"],
    ["another field", [{ type: "part", bytes: new Uint8Array(0), isLast: true, at: 1 }], "part.at"],
    [
      "parts that are no message",
      [{ type: "part", bytes: new Uint8Array(1), isLast: true }],
      "truncated",
    ],
  ])("is refused with %s", (_name, message, reason) => {
    const read = createRunnerFrameReader()
    expect(read(encodeFrames([answer(300_000)])[0]!)).toEqual([])
    expect(refusal(read, encode(message))).toMatch(reason)
  })

  test("is no chunk: those have a limit of their own", () => {
    const largestChunk = encodeFrames([chunkOf(linkChunkBytesMax)])
    expect(largestChunk.flatMap(createRunnerFrameReader())).toHaveLength(1)
    const read = createRunnerFrameReader()
    const messages = encodeFrames([chunkOf(linkChunkBytesMax + 1)])
    for (const message of messages.slice(0, -1)) expect(read(message)).toEqual([])
    expect(refusal(read, messages.at(-1)!)).toMatch("chunk.data")
  })

  test("is refused when it is a part itself", () => {
    const inner = encode([{ type: "part", bytes: new Uint8Array(1), isLast: true }])
    const outer = encode([{ type: "part", bytes: inner, isLast: true }])
    expect(refusal(decodeRunnerFrames, outer)).toMatch("frame.type")
  })

  test("is refused as soon as it is too large, and not kept", () => {
    const read = createRunnerFrameReader()
    const part = encode([{ type: "part", bytes: new Uint8Array(full), isLast: false }])
    const parts = Math.floor(linkFrameBytesMax / full)
    for (let index = 0; index < parts; index += 1) expect(read(part)).toEqual([])
    expect(refusal(read, part)).toMatch(`a frame of more than ${linkFrameBytesMax} bytes`)
  })
})

describe("what is not a frame", () => {
  test("arbitrary bytes are refused with a protocol error and nothing else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (message) => {
        expect(refusal(decodeRunnerFrames, message)).not.toBeNull()
        expect(refusal(decodeGatewayFrames, message)).not.toBeNull()
      }),
      { numRuns: 3_000 },
    )
  })

  test("damaged frames are refused or are still frames", () => {
    const damage = fc.record({
      at: fc.nat(),
      byte: fc.nat(255),
      keep: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    })
    fc.assert(
      fc.property(fc.array(runnerFrame, { minLength: 1, maxLength: 3 }), damage, (frames, cut) => {
        const message = encodeFrames(frames)[0]!
        const beginning = message.subarray(0, message.length * cut.keep)
        expect(refusal(decodeRunnerFrames, beginning)).not.toBeNull()
        message[cut.at % message.length] = cut.byte
        if (refusal(decodeRunnerFrames, message) !== null) return
        const accepted = decodeRunnerFrames(message)
        expect(encodeFrames(accepted).flatMap(decodeRunnerFrames)).toEqual(accepted)
      }),
      { numRuns: 2_000 },
    )
  })

  test("arbitrary msgpack values are refused", () => {
    fc.assert(
      fc.property(fc.array(fc.object({ maxDepth: 3 }), { minLength: 1 }), (values) => {
        expect(
          refusal(decodeRunnerFrames, encode(values, { ignoreUndefined: true })),
        ).not.toBeNull()
      }),
    )
  })

  test("a frame without one of its fields, or with one more, is refused", () => {
    fc.assert(
      fc.property(runnerFrame, fc.nat(), (frame, pick) => {
        const names = Object.keys(frame)
        const dropped = names[pick % names.length]
        const rest = Object.entries(frame).filter(([name]) => name !== dropped)
        const lacking = encode([Object.fromEntries(rest)])
        expect(refusal(decodeRunnerFrames, lacking)).not.toBeNull()
        expect(refusal(decodeRunnerFrames, encode([{ ...frame, extra: 1 }]))).toMatch("extra")
      }),
      { numRuns: 300 },
    )
  })

  const refused: [string, unknown, string][] = [
    ["an empty message", [], "a list of frames"],
    ["a map for a message", { type: "exit" }, "a list of frames"],
    ["a text for a frame", ["exit"], "frame: a map"],
    ["a nil frame", [null], "frame: a map"],
    ["a list for a frame", [[1]], "frame: a map"],
    ["bytes for a frame", [new Uint8Array(2)], "frame: a map"],
    ["a type from the prototype", [{ type: "toString" }], "frame.type"],
    ["a type that is no text", [{ type: 1 }], "frame.type"],
    ["no credit", [{ type: "credit", count: 0 }], "credit.count"],
    ["half a credit", [{ type: "credit", count: 1.5 }], "credit.count"],
    ["too many credits", [{ type: "credit", count: 5_000 }], "credit.count"],
    ["an empty lease", [{ type: "accepted", lease: "" }], "accepted.lease"],
    ["a lease with a slash", [{ type: "accepted", lease: "../x" }], "accepted.lease"],
    ["a long lease", [{ type: "accepted", lease: "a".repeat(65) }], "accepted.lease"],
    ["a number for a lease", [{ type: "accepted", lease: 7 }], "accepted.lease"],
    ["not a number", [{ type: "pong", at: Number.NaN }], "pong.at"],
    ["an infinite time", [{ type: "pong", at: Number.POSITIVE_INFINITY }], "pong.at"],
    ["a negative time", [{ type: "pong", at: -1 }], "pong.at"],
    ["a time as text", [{ type: "pong", at: "1" }], "pong.at"],
    ["a date", [{ type: "pong", at: new Date() }], "type byte"],
    ["an unknown event", [{ type: "event", lease: "l", event: { kind: "x" } }], "event.event.kind"],
    [
      "a seq of 0",
      [
        {
          type: "event",
          lease: "l",
          event: { kind: "progress", seq: 0, at: 1, step: 1, steps: 1 },
        },
      ],
      "progress.seq",
    ],
    ["a chunk of text", [{ type: "chunk", lease: "l", seq: 1, data: "{}" }], "chunk.data"],
    [
      "a chunk in an event",
      [{ type: "event", lease: "l", event: { kind: "chunk" } }],
      "event.kind",
    ],
    [
      "an unknown level",
      [
        {
          type: "event",
          lease: "l",
          event: { kind: "log", seq: 1, at: 1, level: "TRACE", message: "" },
        },
      ],
      "log.level",
    ],
    [
      "labels that are no texts",
      [
        {
          type: "event",
          lease: "l",
          event: { kind: "log", seq: 1, at: 1, level: "INFO", message: "", labels: { a: 1 } },
        },
      ],
      "log.labels.a",
    ],
    [
      "an informational status",
      [{ type: "done", lease: "l", status: 101, headers: {}, body: null, inferenceMs: 0 }],
      "done.status",
    ],
    [
      "a text for a body",
      [{ type: "done", lease: "l", status: 200, headers: {}, body: "x", inferenceMs: 0 }],
      "done.body",
    ],
    [
      "headers in a list",
      [{ type: "done", lease: "l", status: 200, headers: [], body: null, inferenceMs: 0 }],
      "done.headers",
    ],
    [
      "too many headers",
      [
        {
          type: "done",
          lease: "l",
          status: 200,
          headers: Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`h${i}`, ""])),
          body: null,
          inferenceMs: 0,
        },
      ],
      "done.headers",
    ],
    [
      "a reason of the gateway's",
      [{ type: "failed", lease: "l", reason: "lost", detail: "", inferenceMs: 0 }],
      "failed.reason",
    ],
    [
      "a detail that is no text",
      [{ type: "failed", lease: "l", reason: "exception", detail: null, inferenceMs: 0 }],
      "failed.detail",
    ],
  ]

  test.each(refused)("%s is refused", (_name, value, message) => {
    expect(refusal(decodeRunnerFrames, encode(value))).toMatch(message)
  })

  test("lists of a hello are bounded", () => {
    const hello = {
      type: "hello",
      version: 1,
      session: "s",
      runner: { pid: 1, startedAt: "", build: "" },
      slots: 1,
      apps: Array(5_000).fill("a"),
      held: [],
      unacked: [],
    }
    expect(refusal(decodeRunnerFrames, encode([hello]))).toMatch("hello.apps")
    expect(refusal(decodeRunnerFrames, encode([{ ...hello, apps: [], held: [1] }]))).toMatch(
      "hello.held[]",
    )
    expect(refusal(decodeRunnerFrames, encode([{ ...hello, apps: "a" }]))).toMatch("hello.apps")
  })
})

describe("the outer shape", () => {
  test.each([
    ["nothing", [], "truncated"],
    ["a cut length", [0xdd, 0xff], "truncated"],
    ["a cut text", [0x91, 0xa5, 0x61], "truncated"],
    ["a cut number", [0x91, 0xcb, 0x00], "truncated"],
    ["a length beyond the message", [0xdd, 0xff, 0xff, 0xff, 0xff], "truncated"],
    ["a map's length beyond the message", [0x91, 0xdf, 0xff, 0xff, 0xff, 0xff], "truncated"],
    ["fewer values than promised", [0x92, 0xc0], "truncated"],
    ["bytes after the message", [0x90, 0x00], "bytes after the message"],
    ["an extension", [0x91, 0xd4, 0x01, 0x00], "type byte 0xd4"],
    ["the type byte that does not exist", [0xc1], "type byte 0xc1"],
    ["deep nesting", [0x91, 0x91, 0x91, 0x91, 0x91, 0xc0], "nested deeper than 4"],
    ["a forbidden key", [0x91, 0x81, 0xa9, ...Buffer.from("__proto__"), 0xc0], "not msgpack"],
    ["a key that is a list", [0x91, 0x81, 0x90, 0xc0], "not msgpack"],
  ])("%s is refused", (_name, message, reason) => {
    expect(refusal(decodeRunnerFrames, Uint8Array.from(message))).toMatch(reason)
  })

  test("every type that a link uses passes [float32, int8 to int64, str8 to str32, bin8 to bin32]", () => {
    const type = [0xa4, ...Buffer.from("type"), 0xa4, ...Buffer.from("ping"), 0xa2, 0x61, 0x74]
    const at = (...value: number[]) => Uint8Array.from([0x91, 0x82, ...type, ...value])
    expect(decodeGatewayFrames(at(0xca, 0x3f, 0x80, 0, 0))).toEqual([{ type: "ping", at: 1 }])
    expect(decodeGatewayFrames(at(0xcf, 0, 0, 0, 0, 0, 0, 0, 9))).toEqual([{ type: "ping", at: 9 }])
    expect(decodeGatewayFrames(at(0xd3, 0, 0, 0, 0, 0, 0, 0, 9))).toEqual([{ type: "ping", at: 9 }])
    expect(decodeGatewayFrames(at(0xd0, 7))).toEqual([{ type: "ping", at: 7 }])
    for (const wrong of [
      [0xc2],
      [0xd9, 1, 0x61],
      [0xda, 0, 1, 0x61],
      [0xdb, 0, 0, 0, 1, 0x61],
      [0xc4, 1, 0],
      [0xc5, 0, 1, 0],
      [0xc6, 0, 0, 0, 1, 0],
      [0xdc, 0, 1, 0],
      [0xdd, 0, 0, 0, 1, 0],
      [0xde, 0, 0],
      [0xdf, 0, 0, 0, 0],
      [0xff],
    ]) {
      expect(refusal(decodeGatewayFrames, at(...wrong))).toMatch("ping.at: a finite number")
    }
  })

  test("a small message cannot ask for much memory [nested lengths]", () => {
    const message = new Uint8Array(linkMessageBytesMax).fill(0xdd)
    const before = process.memoryUsage().heapUsed
    expect(refusal(decodeRunnerFrames, message)).toMatch("message:")
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(32 * 1024 * 1024)
  })
})
