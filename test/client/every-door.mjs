/** Goes through every door of a server that has `doors-app.ts`, and tells what came of it; for other runtimes than the tests'. */

const endpoint = "test/doors"

export async function goThroughEveryDoor(client) {
  const invalid = () => client.run(endpoint, { input: { text: 7 } })
  const late = () => client.run(endpoint, { input: { pause_ms: 5_000 }, timeoutMs: 50 })
  return {
    run: (await client.run(endpoint, { input: { text: "run" } })).data.text,
    subscribe: [await subscribe(client, "polling"), await subscribe(client, "streaming")],
    stream: await stream(client),
    upload: await upload(client),
    realtime: await realtime(client),
    error: await invalid().catch(({ status, name }) => [status, name]),
    timeout: await late().catch(({ name }) => name),
  }
}

async function subscribe(client, mode) {
  const { data, requestId } = await client.subscribe(endpoint, {
    input: { text: mode },
    mode,
    pollMs: 20,
    logs: true,
    onQueueUpdate: () => {},
  })
  return [data.text, requestId.length]
}

async function stream(client) {
  const texts = []
  const events = await client.stream(endpoint, { input: { text: "stream", events: 2 } })
  for await (const { text } of events) texts.push(text)
  return texts
}

async function upload(client) {
  const url = await client.storage.upload(new Blob([new Uint8Array(25 * 1024 * 1024)]))
  return (await (await fetch(url)).arrayBuffer()).byteLength
}

async function realtime(client) {
  return await new Promise((onText, onError) => {
    const onResult = ({ text }) => {
      connection.close()
      onText(text)
    }
    const connection = client.realtime.connect(endpoint, { onResult, onError })
    connection.send({ text: "realtime" })
  })
}
