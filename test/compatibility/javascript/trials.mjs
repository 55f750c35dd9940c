/**
 * Every public method of the official JavaScript client, as a program would call it. Node and a page in a browser run the same
 * functions: `client` is the package as it was imported, `place` is what the program was told about where it runs.
 */

const ECHO = "tintype/echo"
const PROBE = "test/probe"
const STREAMS = "test/streams"
const LIVE = "fal-ai/fast-lcm-diffusion"
const small = { prompt: "a lighthouse", image_size: { width: 256, height: 192 }, seed: 7 }
const slow = { duration_ms: 30_000 }

export function trialsOf(client, place) {
  const { fal } = client
  return {
    ...callTrials(client, place),
    ...queueTrials(client),
    ...streamTrials(fal),
    ...realtimeTrials(fal, place),
    ...storageTrials(fal, place),
    ...largeFileTrials(fal),
    ...errorTrials(client, place),
    ...configurationTrials(client, place),
  }
}

function callTrials({ fal }) {
  return {
    "fal.run": async () => await fal.run(ECHO, { input: { prompt: "hello" } }),
    "fal.run: a picture, fetched by its URL": async () => {
      const result = await fal.run("fal-ai/fast-sdxl", { input: small, startTimeout: 60 })
      return { data: result.data, file: await fetched(result.data.images[0].url) }
    },
    "fal.run: an abort signal cancels": async () => {
      const signal = AbortSignal.timeout(300)
      return await refusal(fal.run(PROBE, { input: slow, abortSignal: signal }))
    },
    "fal.subscribe: polling, onEnqueue, onQueueUpdate, logs": async () =>
      await subscribed(fal, { pollInterval: 50 }),
    "fal.subscribe: streaming": async () => await subscribed(fal, { mode: "streaming" }),
    "fal.subscribe: streaming with a token": async () =>
      await subscribed(fal, { mode: "streaming", connectionMode: "client" }),
    "fal.subscribe: timeout cancels": async () => {
      let requestId
      const onEnqueue = (id) => (requestId = id)
      const options = { input: slow, timeout: 500, pollInterval: 50, onEnqueue }
      const refused = await refusal(fal.subscribe(PROBE, options))
      const last = await fal.queue.subscribeToStatus(PROBE, { requestId, pollInterval: 50 })
      return { refused, last }
    },
  }
}

async function subscribed(fal, options) {
  const enqueued = []
  const updates = []
  const { data, requestId } = await fal.subscribe(PROBE, {
    input: { lines: 5, duration_ms: 600 },
    logs: true,
    onEnqueue: (id) => enqueued.push(id),
    onQueueUpdate: (update) => updates.push(JSON.parse(JSON.stringify(update))),
    ...options,
  })
  return { data, requestId, enqueued, updates }
}

function queueTrials({ fal, isQueueStatus, isCompletedQueueStatus }) {
  const submitted = async (input) => (await fal.queue.submit(PROBE, { input })).request_id
  return {
    "fal.queue.submit, isQueueStatus": async () => {
      const options = {
        priority: "low",
        hint: "near",
        startTimeout: 60,
        headers: { "X-Fal-Tags": "a=b" },
      }
      const status = await fal.queue.submit(PROBE, { input: { lines: 1 }, ...options })
      return { status, isStatus: Boolean(isQueueStatus(status)) }
    },
    "fal.queue.status, isCompletedQueueStatus": async () => {
      const requestId = await submitted({ lines: 1 })
      await fal.queue.subscribeToStatus(PROBE, { requestId, pollInterval: 50 })
      const status = await fal.queue.status(PROBE, { requestId, logs: true })
      return { status, isCompleted: isCompletedQueueStatus(status) }
    },
    "fal.queue.streamStatus": async () => {
      const requestId = await submitted({ lines: 3, duration_ms: 300 })
      const stream = await fal.queue.streamStatus(PROBE, { requestId, logs: true })
      return await collected(stream)
    },
    "fal.queue.subscribeToStatus": async () => {
      const requestId = await submitted({ lines: 2 })
      return await fal.queue.subscribeToStatus(PROBE, { requestId, logs: true, pollInterval: 50 })
    },
    "fal.queue.result": async () => {
      const requestId = await submitted({ lines: 2 })
      await fal.queue.subscribeToStatus(PROBE, { requestId, pollInterval: 50 })
      return { submitted: requestId, ...(await fal.queue.result(PROBE, { requestId })) }
    },
    "fal.queue.cancel": async () => {
      const requestId = await submitted(slow)
      await fal.queue.cancel(PROBE, { requestId })
      return await fal.queue.subscribeToStatus(PROBE, { requestId, pollInterval: 50 })
    },
  }
}

function streamTrials(fal) {
  const input = { ...small, num_inference_steps: 3 }
  return {
    "fal.stream": async () => await collected(await fal.stream("fal-ai/flux/dev", { input })),
    "fal.stream: with a token": async () =>
      await collected(await fal.stream("fal-ai/flux/dev", { input, connectionMode: "client" })),
    "fal.stream: events of 200 KB full of emoji": async () => {
      const text = "🌅é漢".repeat(25_000)
      const stream = await fal.stream(STREAMS, { input: { chunks: 3, text } })
      const { events } = await collected(stream)
      return events.map((event) => event.text === text)
    },
    "fal.stream: abort": async () => {
      const stream = await fal.stream("fal-ai/flux/dev", {
        input: { ...small, num_inference_steps: 50 },
      })
      const done = stream.done()
      const first = await Promise.race([new Promise((seen) => stream.on("data", seen)), done])
      stream.abort()
      return { first, done: await done, aborted: stream.signal.aborted }
    },
    "fal.stream: an endpoint that has none": async () =>
      await refusal(collected(await fal.stream(ECHO, { input: {} }))),
    "fal.streaming.stream": async () =>
      await collected(await fal.streaming.stream("fal-ai/flux/dev", { input })),
  }
}

async function collected(stream) {
  const events = []
  const done = stream.done()
  // It is awaited below; until then a refusal is nobody's surprise.
  done.catch(() => {})
  for await (const event of stream) events.push(event)
  return { events, done: await done, hasRequestId: typeof stream.requestId === "string" }
}

function realtimeTrials(fal, { tokenProvider }) {
  return {
    "fal.realtime.connect": async () => await converse(fal, { connectionKey: "default token" }),
    "fal.realtime.connect: tokenProvider, maxBuffering": async () =>
      await converse(fal, { connectionKey: "own token", tokenProvider, maxBuffering: 2 }),
    "fal.realtime.connect: JSON text both ways": async () =>
      await converse(fal, {
        connectionKey: "text",
        encodeMessage: (input) => JSON.stringify(input),
      }),
    "fal.realtime.connect: onError": async () =>
      await new Promise((resolve) => {
        const connectionKey = "wrong input"
        const onError = (error) => (connection.close(), resolve(described(error)))
        const connection = fal.realtime.connect(LIVE, { connectionKey, onError, onResult: resolve })
        connection.send({ prompt: { no: "text" } })
      }),
  }
}

/** Three messages, each sent when the answer to the one before is there. */
async function converse(fal, options) {
  const answers = []
  return await new Promise((resolve, reject) => {
    const ask = () => connection.send({ ...small, request_id: String(answers.length) })
    const connection = fal.realtime.connect(LIVE, {
      throttleInterval: 0,
      ...options,
      onError: reject,
      onResult: (result) => {
        const images = result.images.map(({ content, ...image }) => ({
          ...image,
          content: content && { length: content.length, isBytes: content instanceof Uint8Array },
        }))
        answers.push({ ...result, images })
        if (answers.length < 3) {
          ask()
        } else {
          connection.close()
          resolve(answers)
        }
      },
    })
    ask()
  })
}

function storageTrials(fal, { restUrl }) {
  const picture = new Blob(["small"], { type: "image/png" })
  return {
    "fal.storage.upload": async () => await fetched(await fal.storage.upload(picture)),
    "fal.storage.upload: a File with its name": async () =>
      await fetched(
        await fal.storage.upload(new File(["words"], "words.txt", { type: "text/plain" })),
      ),
    "fal.storage.upload: lifecycle": async () => {
      const lifecycle = {
        expiresIn: "1h",
        initialAcl: { default: "hide", rules: [{ user: "nobody", decision: "allow" }] },
      }
      const url = await fal.storage.upload(picture, { lifecycle })
      const response = await fetch(`${restUrl}/storage/files/acl?url=${encodeURIComponent(url)}`)
      return await response.json()
    },
    "fal.storage.transformInput": async () => {
      const { list, ...rest } = await fal.storage.transformInput({
        list: [{ picture }],
        kept: "data:,",
      })
      return { ...rest, file: await fetched(list[0].picture) }
    },
    "fal.run: a Blob in its input is uploaded": async () => {
      const { data } = await fal.run(ECHO, { input: { picture } })
      return await fetched(data.picture)
    },
  }
}

function largeFileTrials(fal) {
  return {
    "fal.storage.upload: 91 MiB, in parts": async () => {
      const bytes = numbered(91)
      const url = await fal.storage.upload(new Blob([bytes], { type: "video/mp4" }))
      return { sent: await sha256(bytes), file: await fetched(url) }
    },
  }
}

function errorTrials(client, { slots }) {
  const { fal, ApiError, ValidationError, isRetryableError } = client
  return {
    "ValidationError.fieldErrors, ValidationError.getFieldErrors": async () => {
      const error = await caught(fal.run("fal-ai/flux/dev", { input: { num_images: 99 } }))
      return {
        ...described(error),
        isValidationError: error instanceof ValidationError,
        fieldErrors: error.fieldErrors,
        ofField: error.getFieldErrors("num_images"),
      }
    },
    "ApiError.isUserTimeout: startTimeout passes while it waits": async () => {
      const blockers = Array.from({ length: slots }, () => fal.queue.submit(PROBE, { input: slow }))
      const submitted = await Promise.all(blockers)
      const error = await caught(fal.run(PROBE, { input: {}, startTimeout: 1.01 }))
      for (const { request_id: requestId } of submitted)
        await fal.queue.cancel(PROBE, { requestId })
      const isApiError = error instanceof ApiError
      return { ...described(error), isApiError, isUserTimeout: error.isUserTimeout }
    },
    "fal.queue.submit: no such app": async () =>
      await refusal(fal.queue.submit("fal-ai/fluxx/dev", { input: {} })),
    isRetryableError: async () => {
      const error = await caught(
        fal.queue.status(PROBE, { requestId: "00000000-0000-4000-8000-000000000000" }),
      )
      return {
        ...described(error),
        now: isRetryableError(error, [429, 503]),
        if404: isRetryableError(error, [404]),
      }
    },
    "fal.subscribe: an app that failed": async () =>
      await refusal(fal.subscribe(PROBE, { input: { fail: "throw" }, pollInterval: 50 })),
  }
}

function configurationTrials(client, { config, proxyUrl }) {
  const { fal, createFalClient, withMiddleware, withProxy, parseEndpointId } = client
  return {
    createFalClient: async () =>
      await createFalClient({ ...config, retry: { maxRetries: 0 } }).run(ECHO, { input: { n: 1 } }),
    "fal.config": async () => {
      let calls = 0
      const counting = (...call) => (calls++, fetch(...call))
      fal.config({ ...config, fetch: counting })
      const { data } = await fal.run(ECHO, { input: { n: 2 } })
      fal.config(config)
      return { data, calls }
    },
    "withMiddleware, withProxy": async () => {
      const passed = []
      const note = async (request) => (passed.push(request.url), request)
      const proxy = withProxy({ targetUrl: proxyUrl, when: "always" })
      const requestMiddleware = withMiddleware(note, proxy)
      const own = createFalClient({ ...config, proxyUrl: undefined, requestMiddleware })
      const { data } = await own.run(ECHO, { input: { n: 3 } })
      return { data, passed }
    },
    parseEndpointId: async () => parseEndpointId("workflows/acme/logo/step"),
  }
}

async function caught(promise) {
  return await promise.then(
    () => null,
    (error) => error,
  )
}

async function refusal(promise) {
  return await promise.then((answered) => ({ answered }), described)
}

function described({ name, message, status, body, requestId }) {
  return { name, message, status, body, hasRequestId: Boolean(requestId) }
}

/** A file as any program gets it: by its URL, without the client and without a key. */
async function fetched(url) {
  const response = await fetch(url)
  const bytes = await response.arrayBuffer()
  return {
    url,
    status: response.status,
    contentType: response.headers.get("content-type"),
    bytes: bytes.byteLength,
    sha256: await sha256(bytes),
  }
}

async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("")
}

/** Every KiB is another one, so that parts that change places are noticed. */
function numbered(mebibytes) {
  const bytes = new Uint8Array(mebibytes * 1024 * 1024)
  const words = new Uint32Array(bytes.buffer)
  for (let index = 0; index < words.length; index += 1) words[index] = index >> 8
  return bytes
}
